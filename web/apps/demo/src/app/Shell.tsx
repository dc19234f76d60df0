import {
  ActionIcon,
  AppShell,
  Avatar,
  Burger,
  Group,
  Indicator,
  Menu,
  NavLink,
  ScrollArea,
  Text,
  ThemeIcon,
  UnstyledButton,
  VisuallyHidden,
  useComputedColorScheme,
  useMantineColorScheme,
} from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { disablePush } from "@sharedjox/realtime/push";
import { useRealtime } from "@sharedjox/realtime/react";
import {
  IconActivity,
  IconBell,
  IconBolt,
  IconBriefcase,
  IconChartLine,
  IconCode,
  IconLogout,
  IconMoon,
  IconSearch,
  IconSun,
  IconWallet,
} from "@tabler/icons-react";
import { Suspense, type JSX } from "react";
import { Link, Outlet, useLocation } from "react-router";

import { ConnectionBadge } from "@/app/ConnectionBadge";
import { Loading } from "@/components/Loading";
import { useUnreadCount } from "@/features/notifications";
import { useAuthStore } from "@/system/stores/useAuthStore";
import type { Role } from "@/system/types";

interface Destination {
  readonly to: string;
  readonly label: string;
  readonly icon: typeof IconSearch;
  readonly roles?: readonly Role[];
}

const DESTINATIONS: readonly Destination[] = [
  { to: "/discovery", label: "Discovery", icon: IconSearch },
  { to: "/jobs", label: "My jobs", icon: IconBriefcase, roles: ["client", "freelancer"] },
  { to: "/wallet", label: "Wallet", icon: IconWallet },
  { to: "/notifications", label: "Notifications", icon: IconBell },
  { to: "/operations", label: "Operations", icon: IconChartLine, roles: ["operator"] },
  { to: "/monitor", label: "Monitor", icon: IconActivity },
  { to: "/samples", label: "Code samples", icon: IconCode },
];

export function Shell(): JSX.Element {
  const [isOpen, { toggle, close }] = useDisclosure();
  return (
    <AppShell
      header={{ height: 60 }}
      navbar={{ width: 220, breakpoint: "sm", collapsed: { mobile: !isOpen } }}
      padding="md"
    >
      <a className="skip-link" href="#main" onClick={(event) => { event.preventDefault(); document.getElementById("main")?.focus(); }}>
        Skip to the content
      </a>
      <AppShell.Header>
        <Group h="100%" px="md" justify="space-between" wrap="nowrap">
          <Group gap="sm" wrap="nowrap">
            <Burger opened={isOpen} onClick={toggle} hiddenFrom="sm" size="sm" aria-label="Menu" />
            <ThemeIcon radius="md" visibleFrom="xs">
              <IconBolt size={18} aria-hidden />
            </ThemeIcon>
            <Text fw={700} fz="lg">
              SharedJox
            </Text>
          </Group>
          <Group gap="xs" wrap="nowrap">
            <ConnectionBadge />
            <Bell />
            <SchemeToggle />
            <UserMenu />
          </Group>
        </Group>
      </AppShell.Header>
      <AppShell.Navbar p="xs">
        <ScrollArea component="nav" aria-label="Pages">
          <Navigation onNavigate={close} />
        </ScrollArea>
      </AppShell.Navbar>
      <AppShell.Main id="main" tabIndex={-1} style={{ outline: "none" }}>
        <Suspense fallback={<Loading />}>
          <Outlet />
        </Suspense>
      </AppShell.Main>
    </AppShell>
  );
}

function Navigation({ onNavigate }: { readonly onNavigate: () => void }): JSX.Element {
  const { pathname } = useLocation();
  const role = useAuthStore((state) => state.user?.role);
  return (
    <>
      {DESTINATIONS.filter(({ roles }) => !roles || (role && roles.includes(role))).map(({ to, label, icon: Icon }) => {
        const isHere = pathname.startsWith(to);
        return (
          <NavLink
            key={to}
            component={Link}
            to={to}
            label={label}
            active={isHere}
            aria-current={isHere ? "page" : undefined}
            leftSection={<Icon size={18} aria-hidden />}
            onClick={onNavigate}
            style={{ borderRadius: "var(--mantine-radius-md)" }}
          />
        );
      })}
    </>
  );
}

function Bell(): JSX.Element {
  const unread = useUnreadCount();
  return (
    <Indicator label={unread > 99 ? "99+" : unread} size={16} disabled={unread === 0} color="red.8">
      <ActionIcon
        component={Link}
        to="/notifications"
        variant="default"
        size="lg"
        aria-label={unread === 0 ? "Notifications" : `Notifications, ${unread} unread`}
      >
        <IconBell size={18} aria-hidden />
      </ActionIcon>
    </Indicator>
  );
}

function SchemeToggle(): JSX.Element {
  const { setColorScheme } = useMantineColorScheme();
  const scheme = useComputedColorScheme("light", { getInitialValueInEffect: false });
  const other = scheme === "dark" ? "light" : "dark";
  return (
    <ActionIcon variant="default" size="lg" visibleFrom="xs" aria-label={`Use the ${other} colours`} onClick={() => { setColorScheme(other); }}>
      {scheme === "dark" ? <IconSun size={18} aria-hidden /> : <IconMoon size={18} aria-hidden />}
    </ActionIcon>
  );
}

function UserMenu(): JSX.Element | null {
  const client = useRealtime();
  const user = useAuthStore((state) => state.user);
  const logOut = useAuthStore((state) => state.logOut);
  if (!user) return null;
  const leave = async (): Promise<void> => {
    // Whoever uses this browser next is not to be shown this user's notifications.
    await disablePush(client).catch(() => undefined);
    await logOut();
  };
  return (
    // Inside the header, which is a landmark, and with nothing but the items to focus: screen readers count what is there.
    <Menu position="bottom-end" withinPortal={false} withInitialFocusPlaceholder={false}>
      <Menu.Target>
        <UnstyledButton data-testid="user-menu">
          <Avatar name={user.name} color="initials" radius="xl" />
          <VisuallyHidden>
            {user.name}, {user.role}
          </VisuallyHidden>
        </UnstyledButton>
      </Menu.Target>
      <Menu.Dropdown>
        <Menu.Label>
          {user.name} · {user.role}
        </Menu.Label>
        <Menu.Item leftSection={<IconLogout size={16} aria-hidden />} onClick={() => void leave()}>
          Log out
        </Menu.Item>
      </Menu.Dropdown>
    </Menu>
  );
}
