/// <reference types="vite/client" />

interface ImportMetaEnv {
  /** Address of the gateway, for instance `ws://localhost:8080`; derived from the page's own when absent. */
  readonly VITE_WS_URL?: string;
  /** The application's key; `sharedjox` when absent. */
  readonly VITE_REVERB_APP_KEY?: string;
}
