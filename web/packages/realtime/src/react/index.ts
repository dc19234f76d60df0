export { RealtimeProvider, useRealtime } from "./context.js";
export type { RealtimeProviderProps } from "./context.js";
export { useChannel, useConnectionStatus, useTyping, useViewers, useWebSocket } from "./hooks.js";
export type { TypingHook, WebSocketApi } from "./hooks.js";
