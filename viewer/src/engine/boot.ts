import * as core from '@cornerstonejs/core';
import { init as initLoader } from '@cornerstonejs/dicom-image-loader';
import * as tools from '@cornerstonejs/tools';
import { dragged, toRange, toWindow } from './windows';

/** The tools that the left button can hold. */
export const toolNames = ['window', 'scroll', 'zoom', 'pan', 'length', 'angle', 'roi'] as const;
export type ToolName = (typeof toolNames)[number];

/** Window/level with a step that follows the width of the window. */
class FineWindowLevel extends tools.WindowLevelTool {
  static override toolName = 'FineWindowLevel';

  override getNewRange({ deltaPointsCanvas, lower, upper }: { deltaPointsCanvas: [number, number]; lower: number; upper: number }) {
    return toRange(dragged(toWindow({ lower, upper }), deltaPointsCanvas[0], deltaPointsCanvas[1]));
  }
}

/** Cornerstone's name of each tool. */
export const toolOf: Record<ToolName, string> = {
  window: FineWindowLevel.toolName,
  scroll: tools.StackScrollTool.toolName,
  zoom: tools.ZoomTool.toolName,
  pan: tools.PanTool.toolName,
  length: tools.LengthTool.toolName,
  angle: tools.AngleTool.toolName,
  roi: tools.EllipticalROITool.toolName,
};

export const measuringTools: ToolName[] = ['length', 'angle', 'roi'];

/**
 * Whether pictures are drawn by the processor. `?render=cpu` forces it (tests
 * want the same pixels everywhere), `?render=gpu` forbids it; else a real
 * graphics processor is used when there is one. A software WebGL is slower
 * than drawing on the processor directly.
 */
function drawOnProcessor(): boolean {
  const wish = new URLSearchParams(location.search).get('render');
  if (wish === 'cpu') return true;
  if (wish === 'gpu') return false;
  const found = core.getRenderingCapabilities();
  return !found.webgl || Boolean(found.softwareRasterizer);
}

function cacheBytes(): number {
  // navigator.deviceMemory is in GiB, coarse, and Chromium's alone.
  const memory = (navigator as { deviceMemory?: number }).deviceMemory ?? 4;
  return Math.min(2048, Math.max(384, memory * 160)) * 1024 * 1024;
}

/**
 * The HTTP status in what the loader rejects with: its XMLHttpRequest, bare or
 * wrapped. 0 is a lost line; undefined means that the pixels were the trouble.
 */
export function requestStatus(err: unknown): number | undefined {
  for (const candidate of [err, (err as { error?: unknown })?.error, (err as { request?: unknown })?.request]) {
    if (candidate instanceof XMLHttpRequest) return candidate.status;
    const status = (candidate as { status?: unknown } | undefined)?.status;
    if (typeof status === 'number') return status;
  }
  return undefined;
}

let started: Promise<void> | undefined;

/** Starts Cornerstone once: rendering, decoders, tools. */
export function startEngine(): Promise<void> {
  started ??= start();
  return started;
}

async function start(): Promise<void> {
  core.init({ rendering: { useGenericViewport: true, useCPURendering: drawOnProcessor() } } as never);
  // The loader leaves one of its own promises unhandled beside the one that it
  // hands out; the failure itself is told by the pane.
  window.addEventListener('unhandledrejection', (event) => {
    if (event.reason instanceof XMLHttpRequest) event.preventDefault();
  });
  core.cache.setMaxCacheSize(cacheBytes());
  initLoader({ maxWebWorkers: Math.min(4, Math.max(1, Math.floor((navigator.hardwareConcurrency ?? 2) / 2))) });
  // Over HTTP/1.1 there are six sockets; one is the event stream's, and what
  // the reader asks for must not stand behind what is fetched ahead.
  core.imageRetrievalPoolManager.setMaxSimultaneousRequests(core.Enums.RequestType.Prefetch, 4);
  tools.init();
  for (const tool of [FineWindowLevel, tools.StackScrollTool, tools.ZoomTool, tools.PanTool, tools.LengthTool, tools.AngleTool, tools.EllipticalROITool]) {
    tools.addTool(tool);
  }
  const accent = getComputedStyle(document.documentElement).getPropertyValue('--picture-accent').trim() || 'rgb(242, 204, 61)';
  const style = tools.annotation.config.style.getDefaultToolStyles();
  tools.annotation.config.style.setDefaultToolStyles({
    ...style,
    global: {
      ...style.global,
      color: accent,
      colorHighlighted: accent,
      colorSelected: accent,
      colorLocked: accent,
      textBoxColor: accent,
      textBoxColorHighlighted: accent,
      textBoxColorSelected: accent,
      textBoxFontFamily: 'system-ui, sans-serif',
      textBoxFontSize: '13px',
      lineWidth: '1.5',
    },
  } as never);
}
