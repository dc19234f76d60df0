"""The demo app in Chromium over the whole stack. The tests themselves are TypeScript, in `web/e2e`."""
