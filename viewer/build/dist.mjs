import { readdirSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';

/** A Vite plugin that empties the output folder before a build, except for .gitkeep. */
export function emptyKeepingGitkeep() {
  let outDir;
  return {
    name: 'tasvir:empty-dist',
    apply: 'build',
    configResolved(config) {
      outDir = resolve(config.root, config.build.outDir);
    },
    buildStart() {
      for (const name of readdirSync(outDir)) {
        if (name !== '.gitkeep') rmSync(join(outDir, name), { recursive: true, force: true });
      }
    },
  };
}
