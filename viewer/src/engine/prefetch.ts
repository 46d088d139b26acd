/** The order in which pictures are fetched: the one looked at, then outwards on both sides. */
export function middleOut(count: number, from: number): number[] {
  const order: number[] = [];
  for (let distance = 0; order.length < count; distance++) {
    if (from + distance < count && from + distance >= 0) order.push(from + distance);
    if (distance > 0 && from - distance >= 0 && from - distance < count) order.push(from - distance);
    if (distance > count + Math.abs(from)) break;
  }
  return order;
}

interface Job {
  key: string;
  imageIds: string[];
  from: number;
  rank: number;
  done: Set<string>;
  failed: Map<string, number>;
  running: Set<string>;
}

export interface Progress {
  loaded: number;
  failed: number;
  total: number;
}

/** What the prefetcher needs to know of the world. */
export interface Supply {
  fetchPicture(imageId: string): Promise<unknown>;
  /** Whether this picture is in memory already. */
  has(imageId: string): boolean;
  /** Whether this failure says nothing about the picture: the line was gone. */
  isLineLost(err: unknown): boolean;
  changed(key: string): void;
  setTimer(run: () => void, ms: number): unknown;
}

const pauseMs = 3000;

/**
 * Fetches stacks ahead of the eye, a few pictures at a time. Jobs of a lower
 * rank come first; within a job the order is middle-out from where the reader
 * is. A picture that fails is tried three times; while the line is gone
 * everything waits.
 */
export class Prefetcher {
  private jobs = new Map<string, Job>();
  private running = 0;
  private paused = false;
  private readonly supply: Supply;
  private readonly width: number;

  constructor(supply: Supply, width: number) {
    this.supply = supply;
    this.width = width;
  }

  /** Wants this stack; a second call moves its centre or its rank. */
  want(key: string, imageIds: string[], from: number, rank: number): void {
    const job = this.jobs.get(key);
    if (job) {
      job.from = from;
      job.rank = rank;
    } else {
      const done = new Set(imageIds.filter((id) => this.supply.has(id)));
      this.jobs.set(key, { key, imageIds, from, rank, done, failed: new Map(), running: new Set() });
    }
    this.pump();
  }

  forget(key: string): void {
    this.jobs.delete(key);
  }

  stop(): void {
    this.jobs.clear();
  }

  progress(key: string): Progress | undefined {
    const job = this.jobs.get(key);
    if (!job) return undefined;
    const failed = [...job.failed].filter(([id, tries]) => tries >= 3 && !job.done.has(id)).length;
    return { loaded: job.done.size, failed, total: job.imageIds.length };
  }

  /** A picture was fetched by somebody else. */
  note(imageId: string): void {
    for (const job of this.jobs.values()) {
      if (!job.done.has(imageId) && job.imageIds.includes(imageId)) {
        job.done.add(imageId);
        this.supply.changed(job.key);
      }
    }
  }

  private next(): { job: Job; imageId: string } | undefined {
    const jobs = [...this.jobs.values()].sort((a, b) => a.rank - b.rank);
    for (const job of jobs) {
      for (const index of middleOut(job.imageIds.length, job.from)) {
        const imageId = job.imageIds[index];
        if (!job.done.has(imageId) && !job.running.has(imageId) && (job.failed.get(imageId) ?? 0) < 3) return { job, imageId };
      }
    }
    return undefined;
  }

  private pause(): void {
    if (this.paused) return;
    this.paused = true;
    this.supply.setTimer(() => {
      this.paused = false;
      this.pump();
    }, pauseMs);
  }

  private pump(): void {
    while (this.running < this.width && !this.paused) {
      const found = this.next();
      if (!found) return;
      const { job, imageId } = found;
      job.running.add(imageId);
      this.running++;
      this.supply
        .fetchPicture(imageId)
        .then(
          () => void job.done.add(imageId),
          (err: unknown) => {
            if (this.supply.isLineLost(err)) this.pause();
            else job.failed.set(imageId, (job.failed.get(imageId) ?? 0) + 1);
          },
        )
        .finally(() => {
          job.running.delete(imageId);
          this.running--;
          this.supply.changed(job.key);
          this.pump();
        });
    }
  }
}
