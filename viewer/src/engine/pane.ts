import * as core from '@cornerstonejs/core';
import { requestStatus } from './boot';
import { type Edges, edgesOf, edgesOfProjection, type Vector } from './geometry';
import { ImageError, loadStack, type Stack } from './stack';
import { presetsFor, toRange, toWindow, type Window } from './windows';

/** What a pane shows at the moment; a new object whenever any of it changes. */
export interface PaneView {
  stack?: Stack;
  /** The picture on the screen (which lags behind `wanted` while it loads). */
  index: number;
  wanted: number;
  sopInstanceUID?: string;
  window?: Window;
  inverted: boolean;
  /** 1: the picture fills the pane. */
  zoom: number;
  mmPerPixel?: number;
  edges?: Edges;
  playing: boolean;
  drawn: boolean;
  /** The series has been asked for; nothing of it is here yet. */
  opening: boolean;
  /** Why the wanted picture can't be shown. */
  error?: 'offline' | 'refused' | 'unreadable';
}

type LegacyPlanar = {
  element: HTMLDivElement;
  setStack(ids: string[], index?: number): Promise<string>;
  setImageIdIndex(index: number): Promise<string>;
  setProperties(p: { voiRange?: { lower: number; upper: number }; invert?: boolean }): void;
  getProperties(): { voiRange?: { lower: number; upper: number }; invert?: boolean };
  getDefaultVOIRange(): { lower: number; upper: number } | undefined;
  getCamera(): { viewUp?: Vector; viewPlaneNormal?: Vector };
  getViewState(): { rotation?: number; flipHorizontal?: boolean; flipVertical?: boolean };
  setViewState(patch: object): void;
  resize(): void;
  getZoom(): number;
  setZoom(zoom: number): void;
  resetCamera(): boolean;
  canvasToWorld(point: [number, number]): Vector;
  worldToCanvas(point: Vector): [number, number];
  getCanvas(): HTMLCanvasElement;
  getImageData(): { imageData?: { indexToWorld(index: Vector): Vector } } | undefined;
  render(): void;
};

const empty: PaneView = { index: 0, wanted: 0, inverted: false, zoom: 1, playing: false, drawn: false, opening: false };

/**
 * One picture field: a Cornerstone viewport with what is asked of it put in
 * the reader's words. It tells its listeners after every change.
 */
export class Pane {
  readonly id: string;
  readonly element: HTMLDivElement;
  private readonly engine: core.RenderingEngine;
  private readonly listeners = new Set<() => void>();
  private state: PaneView = empty;
  private scheduled = false;
  private timer: ReturnType<typeof setInterval> | undefined;
  private showing = 0;
  private opened: [studyUID: string, seriesUID: string] | undefined;
  private waiting: ReturnType<typeof setTimeout> | undefined;
  /** Called after a picture has come on the screen, and after the reader has changed the window. */
  onPicture: (pane: Pane) => void = () => {};
  onWindow: (pane: Pane) => void = () => {};

  constructor(engine: core.RenderingEngine, id: string, element: HTMLDivElement) {
    this.engine = engine;
    this.id = id;
    this.element = element;
    engine.enableElement({ viewportId: id, type: core.Enums.ViewportType.STACK, element, defaultOptions: { background: [0, 0, 0] } });
    const { Events } = core.Enums;
    element.addEventListener(Events.STACK_NEW_IMAGE, this.newImage as EventListener);
    element.addEventListener(Events.VOI_MODIFIED, this.refresh);
    element.addEventListener(Events.CAMERA_MODIFIED, this.refresh);
    element.addEventListener(Events.IMAGE_RENDERED, this.rendered);
    core.eventTarget.addEventListener(Events.IMAGE_LOAD_FAILED, this.loadFailed as EventListener);
    core.eventTarget.addEventListener(Events.IMAGE_LOAD_ERROR, this.loadFailed as EventListener);
  }

  private get viewport(): LegacyPlanar {
    return this.engine.getViewport(this.id) as unknown as LegacyPlanar;
  }

  readonly subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  readonly view = (): PaneView => this.state;

  private update(patch: Partial<PaneView>): void {
    this.state = { ...this.state, ...patch };
    for (const listener of this.listeners) listener();
  }

  private readonly newImage = (event: CustomEvent<{ imageIdIndex?: number }>) => {
    const index = event.detail.imageIdIndex;
    if (typeof index !== 'number' || !this.state.stack) return;
    // A tool may have scrolled the viewport past our knowledge.
    const wanted = this.timer || index === this.state.wanted ? this.state.wanted : index;
    this.update({ index, wanted, sopInstanceUID: this.state.stack.pictures[index]?.sopInstanceUID, error: undefined });
    this.onPicture(this);
  };

  private readonly rendered = () => {
    if (this.state.stack && !this.state.drawn) this.update({ drawn: true });
    this.refresh();
  };

  private readonly loadFailed = (event: CustomEvent<{ imageId?: string; error?: unknown }>) => {
    const { imageId, error } = event.detail;
    if (!imageId || this.state.stack?.pictures[this.state.wanted]?.imageId !== imageId) return;
    const status = requestStatus(error);
    this.update({ error: status === 0 ? 'offline' : status && status >= 400 ? 'refused' : 'unreadable' });
  };

  /** Reads the viewport's state, once per frame of the screen at most. */
  private readonly refresh = () => {
    if (this.scheduled) return;
    this.scheduled = true;
    requestAnimationFrame(() => {
      this.scheduled = false;
      const viewport = this.viewport;
      const { stack } = this.state;
      if (!viewport || !stack) return;
      const range = viewport.getProperties().voiRange ?? viewport.getDefaultVOIRange();
      const window = range && toWindow(range);
      const before = this.state.window;
      this.update({
        window,
        inverted: Boolean(viewport.getProperties().invert) !== stack.inverted,
        zoom: viewport.getZoom(),
        mmPerPixel: stack.calibrated ? this.scale() : undefined,
        edges: this.edges(),
      });
      if (before && window && (before.width !== window.width || before.center !== window.center)) this.onWindow(this);
    });
  };

  private scale(): number | undefined {
    const a = this.viewport.canvasToWorld([0, 0]);
    const b = this.viewport.canvasToWorld([100, 0]);
    if (!a || !b) return undefined;
    return Math.hypot(a[0] - b[0], a[1] - b[1], a[2] - b[2]) / 100;
  }

  private edges(): Edges | undefined {
    const { stack } = this.state;
    if (!stack) return undefined;
    if (!stack.hasPlane) {
      if (!stack.patientOrientation) return undefined;
      const { rotation = 0, flipHorizontal = false, flipVertical = false } = this.viewport.getViewState();
      return edgesOfProjection(stack.patientOrientation, { flipHorizontal, flipVertical, quarterTurns: Math.round(rotation / 90) });
    }
    // From the screen itself, so that every flip and turn is in it.
    const origin = this.viewport.canvasToWorld([0, 0]);
    const toRight = this.viewport.canvasToWorld([100, 0]);
    const toBottom = this.viewport.canvasToWorld([0, 100]);
    if (!origin || !toRight || !toBottom) return undefined;
    const unit = (p: Vector): Vector => {
      const d: Vector = [p[0] - origin[0], p[1] - origin[1], p[2] - origin[2]];
      const length = Math.hypot(...d) || 1;
      return [d[0] / length, d[1] / length, d[2] / length];
    };
    return edgesOf(unit(toRight), unit(toBottom));
  }

  /** Opens a series: asks for it, and shows it from its middle picture. A lost line is waited for. */
  async open(studyUID: string, seriesUID: string): Promise<void> {
    const { stack } = this.state;
    if (stack?.seriesUID === seriesUID && stack.studyUID === studyUID && !this.state.error) return;
    this.clear();
    const mine = this.showing;
    this.opened = [studyUID, seriesUID];
    this.update({ opening: true });
    try {
      const loaded = await loadStack(studyUID, seriesUID);
      if (mine === this.showing) await this.show(loaded);
    } catch (err) {
      if (mine !== this.showing) return;
      const status = err instanceof ImageError ? err.status : -1;
      this.update({ opening: false, error: status === 0 ? 'offline' : status > 0 ? 'refused' : 'unreadable' });
      if (status === 0 || status >= 500) this.waiting = setTimeout(() => void this.open(studyUID, seriesUID), 4000);
    }
  }

  /** Tries again what failed. */
  retry(): void {
    if (this.state.stack && this.state.drawn) this.go(this.state.wanted);
    else if (this.opened) void this.open(...this.opened);
  }

  /** Shows a stack from one of its pictures (the middle one, unless told). */
  async show(stack: Stack, index = Math.floor(stack.pictures.length / 2), window?: Window): Promise<void> {
    this.stop();
    const mine = ++this.showing;
    if (stack.pictures.length === 0) {
      this.update({ ...empty, stack, error: 'unreadable' });
      return;
    }
    this.update({ ...empty, stack, index, wanted: index, sopInstanceUID: undefined });
    const imageIds = stack.pictures.map((p) => p.imageId);
    try {
      await this.viewport.setStack(imageIds, index);
    } catch (err) {
      if (mine !== this.showing) return;
      const status = requestStatus(err);
      this.update({ error: status === 0 ? 'offline' : status ? 'refused' : 'unreadable' });
      return;
    }
    if (mine !== this.showing) return;
    const wish = window ?? stack.window;
    this.viewport.setProperties({ invert: stack.inverted, ...(wish ? { voiRange: toRange(wish) } : {}) });
    this.viewport.render();
    this.update({ index, sopInstanceUID: stack.pictures[index].sopInstanceUID });
    this.refresh();
    this.onPicture(this);
  }

  clear(): void {
    this.stop();
    clearTimeout(this.waiting);
    this.showing++;
    this.update({ ...empty });
  }

  /** Goes to a picture. */
  go(index: number): void {
    const { stack, wanted } = this.state;
    if (!stack) return;
    const clamped = Math.min(stack.pictures.length - 1, Math.max(0, index));
    if (clamped === wanted && !this.state.error) return;
    this.update({ wanted: clamped, error: undefined });
    void this.viewport.setImageIdIndex(clamped);
  }

  step(by: number): void {
    this.go(this.state.wanted + by);
  }

  setWindow(window: Window): void {
    if (!this.state.stack) return;
    this.viewport.setProperties({ voiRange: toRange(window) });
    this.viewport.render();
    this.refresh();
  }

  /** The n-th preset of the modality, from 0. */
  preset(n: number): void {
    const preset = this.presets()[n];
    if (preset) this.setWindow(preset);
  }

  presets() {
    const { stack, window } = this.state;
    if (!stack || stack.colour) return [];
    return presetsFor(stack.modality, stack.window ?? window ?? { center: 128, width: 256 });
  }

  invert(): void {
    if (!this.state.stack) return;
    this.viewport.setProperties({ invert: !this.viewport.getProperties().invert });
    this.viewport.render();
    this.refresh();
  }

  zoomBy(factor: number): void {
    if (!this.state.stack) return;
    this.viewport.setZoom(Math.min(40, Math.max(0.05, this.viewport.getZoom() * factor)));
    this.viewport.render();
    this.refresh();
  }

  /** Draws anew after the pane has changed its size: the engine resizes the canvas, which empties it, and draws nothing. */
  redraw(): void {
    if (!this.state.stack) return;
    this.viewport.resize();
    this.viewport.render();
    this.refresh();
  }

  /** The whole picture, centred. */
  fit(): void {
    if (!this.state.stack) return;
    this.viewport.resetCamera();
    this.viewport.render();
    this.refresh();
  }

  rotate(): void {
    if (!this.state.stack) return;
    const { rotation = 0 } = this.viewport.getViewState();
    this.viewport.setViewState({ rotation: (rotation + 90) % 360 });
    this.viewport.render();
    this.refresh();
  }

  flip(axis: 'horizontal' | 'vertical'): void {
    if (!this.state.stack) return;
    const key = axis === 'horizontal' ? 'flipHorizontal' : 'flipVertical';
    const now = Boolean(this.viewport.getViewState()[key]);
    this.viewport.setViewState({ [key]: !now });
    this.viewport.render();
    this.refresh();
  }

  /** As it was when the stack came: window, place, size, sides. */
  reset(): void {
    const { stack } = this.state;
    if (!stack) return;
    this.stop();
    this.viewport.setViewState({ rotation: 0, flipHorizontal: false, flipVertical: false });
    this.viewport.resetCamera();
    const wish = stack.window ?? this.defaultWindow();
    this.viewport.setProperties({ invert: stack.inverted, ...(wish ? { voiRange: toRange(wish) } : {}) });
    this.viewport.render();
    this.refresh();
  }

  private defaultWindow(): Window | undefined {
    const range = this.viewport.getDefaultVOIRange();
    return range && toWindow(range);
  }

  /** Plays the stack as a film, or stops it. */
  play(): void {
    if (this.timer) {
      this.stop();
      return;
    }
    const { stack } = this.state;
    if (!stack || stack.pictures.length < 2) return;
    const interval = stack.frameTime && stack.frameTime > 0 ? Math.max(16, stack.frameTime) : 1000 / 12;
    this.timer = setInterval(() => {
      // The film waits for a picture that is not in yet instead of skipping it.
      if (this.state.index !== this.state.wanted) return;
      this.go((this.state.wanted + 1) % stack.pictures.length);
    }, interval);
    this.update({ playing: true });
  }

  stop(): void {
    if (!this.timer) return;
    clearInterval(this.timer);
    this.timer = undefined;
    this.update({ playing: false });
  }

  /** The colours of the canvas at points of the picture (columns, rows, from 0); null outside of it. */
  sample(points: [number, number][]): ([number, number, number] | null)[] {
    const canvas = this.viewport.getCanvas();
    const context = canvas.getContext('2d');
    const { imageData } = this.viewport.getImageData() ?? {};
    if (!context || !imageData) return points.map(() => null);
    const ratio = canvas.width / canvas.clientWidth;
    // One look at the whole canvas: reading it back point by point takes seconds.
    const { data, width, height } = context.getImageData(0, 0, canvas.width, canvas.height);
    return points.map(([i, j]) => {
      const [x, y] = this.viewport.worldToCanvas(imageData.indexToWorld([i, j, 0]));
      const [px, py] = [Math.round(x * ratio), Math.round(y * ratio)];
      if (px < 0 || py < 0 || px >= width || py >= height) return null;
      const at = (py * width + px) * 4;
      return [data[at], data[at + 1], data[at + 2]];
    });
  }

  dispose(): void {
    this.stop();
    clearTimeout(this.waiting);
    this.showing++;
    const { Events } = core.Enums;
    this.element.removeEventListener(Events.STACK_NEW_IMAGE, this.newImage as EventListener);
    this.element.removeEventListener(Events.VOI_MODIFIED, this.refresh);
    this.element.removeEventListener(Events.CAMERA_MODIFIED, this.refresh);
    this.element.removeEventListener(Events.IMAGE_RENDERED, this.rendered);
    core.eventTarget.removeEventListener(Events.IMAGE_LOAD_FAILED, this.loadFailed as EventListener);
    core.eventTarget.removeEventListener(Events.IMAGE_LOAD_ERROR, this.loadFailed as EventListener);
    this.listeners.clear();
  }
}
