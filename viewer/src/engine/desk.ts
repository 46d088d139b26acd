import * as core from '@cornerstonejs/core';
import * as tools from '@cornerstonejs/tools';
import { measuringTools, requestStatus, startEngine, type ToolName, toolOf } from './boot';
import { linkable, linkedIndex, offsetHere, offsetOf } from './link';
import { Pane } from './pane';
import { Prefetcher, type Progress } from './prefetch';
import { forgetStacks, outdateStacks, type Stack } from './stack';

let serial = 0;

/**
 * A reading desk: the panes side by side, the tool in the left button, what is
 * fetched ahead, and the link that scrolls the panes together. One desk is
 * open at a time; closing it keeps decoded pictures in the cache.
 */
export class Desk {
  readonly panes: Pane[] = [];
  private readonly engine: core.RenderingEngine;
  private readonly groupId: string;
  private readonly listeners = new Set<() => void>();
  private readonly observer: ResizeObserver;
  private resizing = false;
  private currentTool: ToolName = 'window';
  private isLinked = true;
  private offsets = new Map<string, number>();
  private activePane: Pane | undefined;
  private closed = false;
  private readonly touch: boolean;

  static async open(options: { touch?: boolean } = {}): Promise<Desk> {
    await startEngine();
    return new Desk(options.touch ?? false);
  }

  private constructor(touch: boolean) {
    this.touch = touch;
    const id = `desk-${++serial}`;
    this.engine = new core.RenderingEngine(id);
    this.groupId = `${id}-tools`;
    const group = tools.ToolGroupManager.createToolGroup(this.groupId);
    if (!group) throw new Error('the tool group exists already');
    for (const name of Object.values(toolOf)) group.addTool(name);
    this.bind();
    this.observer = new ResizeObserver(() => this.resize());
    core.eventTarget.addEventListener(core.Enums.Events.IMAGE_LOADED, this.loaded as EventListener);
    current = this;
  }

  readonly subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  private tell(): void {
    this.version++;
    for (const listener of this.listeners) listener();
  }

  private version = 0;
  /** Changes whenever tool, link, active pane or progress do. */
  readonly snapshot = (): number => this.version;

  private readonly loaded = (event: CustomEvent<{ image?: { imageId?: string } }>) => {
    const imageId = event.detail.image?.imageId;
    if (imageId) ahead.note(imageId);
  };

  addPane(id: string, element: HTMLDivElement): Pane {
    const pane = new Pane(this.engine, `${this.groupId}-${id}`, element);
    this.panes.push(pane);
    this.group().addViewport(pane.id, this.engine.id);
    this.observer.observe(element);
    const activate = () => this.activate(pane);
    element.addEventListener('pointerdown', activate);
    let rest = 0;
    element.addEventListener(
      'wheel',
      (event) => {
        event.preventDefault();
        activate();
        if (event.ctrlKey) {
          pane.zoomBy(event.deltaY < 0 ? 1.1 : 1 / 1.1);
          return;
        }
        // A wheel's notch is one picture; a touchpad's small steps add up.
        rest += event.deltaMode === 0 ? event.deltaY : event.deltaY * 40;
        const steps = Math.abs(event.deltaY) >= 50 || event.deltaMode !== 0 ? Math.sign(rest) : Math.trunc(rest / 30);
        if (steps === 0) return;
        rest = 0;
        pane.step(steps);
      },
      { passive: false },
    );
    element.addEventListener('contextmenu', (event) => event.preventDefault());
    pane.onPicture = () => {
      this.follow(pane);
      const { stack, index } = pane.view();
      if (stack)
        ahead.want(
          stack.seriesUID,
          stack.pictures.map((p) => p.imageId),
          index,
          this.panes.indexOf(pane),
        );
      this.tell();
    };
    pane.onWindow = () => this.shareWindow(pane);
    this.activePane ??= pane;
    return pane;
  }

  removePane(pane: Pane): void {
    const at = this.panes.indexOf(pane);
    if (at < 0) return;
    this.panes.splice(at, 1);
    this.observer.unobserve(pane.element);
    pane.dispose();
    if (!this.closed) {
      this.group().removeViewports(this.engine.id, pane.id);
      this.engine.disableElement(pane.id);
    }
    if (this.activePane === pane) this.activePane = this.panes[0];
    this.tell();
  }

  private group() {
    const group = tools.ToolGroupManager.getToolGroup(this.groupId);
    if (!group) throw new Error('the desk is closed');
    return group;
  }

  get active(): Pane | undefined {
    return this.activePane;
  }

  activate(pane: Pane): void {
    if (this.activePane === pane) return;
    this.activePane = pane;
    this.tell();
  }

  get tool(): ToolName {
    return this.currentTool;
  }

  setTool(name: ToolName): void {
    this.currentTool = name;
    this.bind();
    this.tell();
  }

  /** Left: the chosen tool. Middle: pan. Right: zoom. On touch screens one finger works the tool, two zoom and pan. */
  private bind(): void {
    const { MouseBindings } = tools.Enums;
    const group = this.group();
    for (const name of Object.keys(toolOf) as ToolName[]) {
      const bindings: { mouseButton?: number; numTouchPoints?: number }[] = [];
      if (name === this.currentTool) {
        bindings.push({ mouseButton: MouseBindings.Primary });
        if (this.touch) bindings.push({ numTouchPoints: 1 });
      }
      if (name === 'pan') bindings.push({ mouseButton: MouseBindings.Auxiliary });
      if (name === 'zoom') {
        bindings.push({ mouseButton: MouseBindings.Secondary });
        if (this.touch) bindings.push({ numTouchPoints: 2 });
      }
      if (bindings.length) group.setToolActive(toolOf[name], { bindings });
      else if (measuringTools.includes(name)) group.setToolPassive(toolOf[name]);
      else group.setToolDisabled(toolOf[name]);
    }
  }

  /** Takes the measurements off the pictures. */
  clearMeasures(): void {
    tools.annotation.state.removeAllAnnotations();
    for (const pane of this.panes) this.engine.renderViewport(pane.id);
    tools.utilities.triggerAnnotationRenderForViewportIds(this.panes.map((p) => p.id));
  }

  get linked(): boolean {
    return this.isLinked;
  }

  /** Whether two panes are open whose pictures can be scrolled together. */
  get canLink(): boolean {
    const [a, b] = this.panes;
    return Boolean(a && b && linkable(a.view().stack?.positions, b.view().stack?.positions));
  }

  /** Switching the link on again takes the two pictures now seen for the same place. */
  setLinked(linked: boolean): void {
    if (linked && !this.isLinked) {
      for (const from of this.panes) {
        for (const to of this.panes) {
          const a = from.view();
          const b = to.view();
          if (from !== to && linkable(a.stack?.positions, b.stack?.positions)) {
            this.offsets.set(this.pair(from, to), offsetHere(a.stack!.positions!, a.index, b.stack!.positions!, b.index));
          }
        }
      }
    }
    this.isLinked = linked;
    this.tell();
  }

  private pair(from: Pane, to: Pane): string {
    return `${from.view().stack?.seriesUID}>${to.view().stack?.seriesUID}`;
  }

  /** Brings the other panes to the place of the picture that just came up in the active one. */
  private follow(from: Pane): void {
    if (!this.isLinked || from !== this.activePane) return;
    const a = from.view().stack;
    for (const to of this.panes) {
      const b = to.view().stack;
      if (to === from || !a?.positions || !b?.positions || !linkable(a.positions, b.positions)) continue;
      const sameFrame = a.frameOfReference !== undefined && a.frameOfReference === b.frameOfReference;
      const offset = this.offsets.get(this.pair(from, to)) ?? offsetOf(a.positions, b.positions, sameFrame);
      to.go(linkedIndex(a.positions, from.view().index, b.positions, offset));
    }
  }

  /** A CT window in one pane is meant for the other CT too. */
  private shareWindow(from: Pane): void {
    const { stack, window } = from.view();
    if (from !== this.activePane || stack?.modality !== 'CT' || !window) return;
    for (const to of this.panes) {
      if (to !== from && to.view().stack?.modality === 'CT') to.setWindow(window);
    }
  }

  progress(stack: Stack): Progress | undefined {
    return ahead.progress(stack.seriesUID);
  }

  private resize(): void {
    if (this.resizing) return;
    this.resizing = true;
    requestAnimationFrame(() => {
      this.resizing = false;
      if (this.closed || !this.panes.length) return;
      this.engine.resize(true, true);
      for (const pane of this.panes) pane.redraw();
    });
  }

  notify(): void {
    this.tell();
  }

  close(): void {
    if (this.closed) return;
    for (const pane of [...this.panes]) this.removePane(pane);
    this.closed = true;
    this.observer.disconnect();
    core.eventTarget.removeEventListener(core.Enums.Events.IMAGE_LOADED, this.loaded as EventListener);
    tools.ToolGroupManager.destroyToolGroup(this.groupId);
    this.engine.destroy();
    this.listeners.clear();
    if (current === this) current = undefined;
  }
}

let current: Desk | undefined;

/** The desk that is open, for the tests' window on it. */
export const openDesk = (): Desk | undefined => current;

const ahead = new Prefetcher(
  {
    fetchPicture: (imageId) => core.imageLoader.loadAndCacheImage(imageId, { requestType: core.Enums.RequestType.Prefetch, priority: 1 } as never),
    has: (imageId) => core.cache.isLoaded(imageId),
    isLineLost: (err) => requestStatus(err) === 0,
    changed: () => current?.notify(),
    setTimer: (run, ms) => setTimeout(run, ms),
  },
  4,
);

/** Fetches a stack before anybody looks at it: the next study of the worklist. */
export function fetchAhead(stack: Stack): void {
  ahead.want(
    stack.seriesUID,
    stack.pictures.map((p) => p.imageId),
    Math.floor(stack.pictures.length / 2),
    9,
  );
}

/** Drops what belongs to other studies than these from memory. */
export async function keepOnly(studyUIDs: string[]): Promise<void> {
  for (const stack of await forgetStacks(new Set(studyUIDs))) {
    ahead.forget(stack.seriesUID);
    for (const { imageId } of stack.pictures) {
      if (!core.cache.getImageLoadObject(imageId)) continue;
      try {
        core.cache.removeImageLoadObject(imageId);
      } catch {
        // still on a screen; the cache's own limit will take it later
      }
    }
  }
}

/** Other pictures of a study are shown now: which, is asked anew when it is opened next. */
export function outdate(studyUID: string): void {
  for (const seriesUID of outdateStacks(studyUID)) ahead.forget(seriesUID);
}
