import react from '@vitejs/plugin-react';
import { defineConfig } from 'vite';
import { emptyKeepingGitkeep } from './build/dist.mjs';

// The server is proxied in development, so that the session cookie stays same-origin.
const server = process.env.TASVIR_URL ?? 'http://127.0.0.1:8099';

export default defineConfig({
  plugins: [react(), emptyKeepingGitkeep()],
  worker: { format: 'es' },
  build: {
    target: 'es2022',
    // dist/.gitkeep is committed (Go's embed needs the folder), so the plugin above empties dist, not Vite.
    emptyOutDir: false,
    // The decoders' wasm and workers are looked up by URL; an inlined one could not be.
    assetsInlineLimit: 0,
    chunkSizeWarningLimit: 4000,
  },
  server: {
    host: '127.0.0.1',
    proxy: { '/api': server, '/dicom-web': server },
  },
  optimizeDeps: {
    exclude: ['@cornerstonejs/dicom-image-loader'],
    include: [
      'dicom-parser',
      'pako',
      'comlink',
      '@cornerstonejs/codec-charls/decodewasmjs',
      '@cornerstonejs/codec-openjpeg/decodewasmjs',
      '@cornerstonejs/codec-openjph/wasmjs',
      '@cornerstonejs/codec-libjpeg-turbo-8bit/decodewasmjs',
      '@cornerstonejs/jpeg-lossless-decoder-js',
    ],
  },
});
