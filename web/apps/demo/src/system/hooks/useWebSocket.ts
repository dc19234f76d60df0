/** The hook of the architecture document, at its path. */

export { useWebSocket } from "@sharedjox/realtime/react";
export type { WebSocketApi } from "@sharedjox/realtime/react";
