/** Colours with enough contrast for small text in both schemes (WCAG AA); the library's own are lighter. */

import { createTheme, darken, type CSSVariablesResolver, type MantineTheme } from "@mantine/core";

const COLORS = ["gray", "red", "grape", "indigo", "blue", "teal", "green", "yellow", "orange"] as const;

export const theme = createTheme({
  primaryColor: "indigo",
  primaryShade: { light: 8, dark: 8 },
  autoContrast: true,
  defaultRadius: "md",
  fontFamily: 'Inter, system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", sans-serif',
  headings: { fontWeight: "650" },
  cursorType: "pointer",
  components: {
    Badge: { defaultProps: { variant: "light", tt: "none", fw: 600 } },
    Card: { defaultProps: { withBorder: true, padding: "md" } },
    Notification: {
      defaultProps: {
        closeButtonProps: { "aria-label": "Close" },
        styles: { description: { color: "var(--mantine-color-dimmed)" } },
      },
    },
  },
});

/** Text on the light variant's background, which is a tint of the same colour. */
function lightVariant(theme: MantineTheme, shade: number, darkenBy = 0): Record<string, string> {
  return Object.fromEntries(
    COLORS.map((color) => [`--mantine-color-${color}-light-color`, darken(theme.colors[color][shade] ?? "#000", darkenBy)]),
  );
}

export const variables: CSSVariablesResolver = (theme) => ({
  variables: {},
  light: {
    "--mantine-color-dimmed": theme.colors.gray[7],
    "--mantine-color-placeholder": theme.colors.gray[6],
    "--mantine-color-body": "#f8f9fb",
    "--mantine-color-default": "#ffffff",
    ...lightVariant(theme, 9, 0.3),
  },
  dark: {
    "--mantine-color-dimmed": theme.colors.dark[1],
    "--mantine-color-placeholder": theme.colors.dark[2],
    ...lightVariant(theme, 2),
  },
});
