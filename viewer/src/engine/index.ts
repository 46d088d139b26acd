/** Images without React: what the rooms may use of it. */
export { startEngine, type ToolName, toolNames } from './boot';
export { Desk, fetchAhead, keepOnly, outdate } from './desk';
export { scaleBar } from './geometry';
export { installHook, noteFirstPicture } from './hook';
export type { Pane, PaneView } from './pane';
export { ImageError, loadStack, type Stack } from './stack';
export { drawThumbnail } from './thumbnail';
export { presetsFor, type Window } from './windows';
