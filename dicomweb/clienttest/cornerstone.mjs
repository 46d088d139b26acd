// The wadors loader of Cornerstone3D, as the viewer has it installed, against
// a DICOMweb service: what it asks for, how it takes the answer apart, which
// transfer syntax it then decodes by, and what it reads out of the metadata.
// Input as for dicomweb-client.mjs; the folder of the loader is the argument.

import './xhr.mjs';
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const load = (path) => import(pathToFileURL(join(process.argv[2], 'dist/esm/imageLoader', path)).href);
const { default: getPixelData } = await load('wadors/getPixelData.js');
const { getTransferSyntaxForContentType } = await load('wadors/loadImage.js');
const { default: metaDataManager } = await load('wadors/metaDataManager.js');
const { default: metaDataProvider } = await load('wadors/metaData/metaDataProvider.js');
const { setOptions } = await load('internal/options.js');

const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex');
// What wadors/loadImage.js sends.
const accept = 'multipart/related; type=application/octet-stream; transfer-syntax=*';

async function check(expected) {
  globalThis.pageOrigin = new URL(expected.url).origin;
  if (expected.token) {
    setOptions({ beforeSend: async () => ({ Authorization: `Bearer ${expected.token}` }) });
  }
  const seriesURL = `${expected.url}/studies/${expected.study}/series/${expected.series}`;
  const answer = await fetch(`${seriesURL}/metadata`, {
    headers: { Accept: 'application/dicom+json', ...(expected.token && { Authorization: `Bearer ${expected.token}` }) },
  });
  assert.equal(answer.status, 200);
  const metadata = new Map((await answer.json()).map((m) => [m['00080018'].Value[0], m]));

  for (const instance of expected.instances) {
    for (const [n, hash] of instance.frames.entries()) {
      const url = `${seriesURL}/instances/${instance.uid}/frames/${n + 1}`;
      const imageId = `wadors:${url}`;
      metaDataManager.add(imageId, metadata.get(instance.uid));
      const pixels = metaDataProvider('imagePixelModule', imageId);
      assert.equal(pixels.rows, instance.rows);
      assert.equal(pixels.columns, instance.columns);
      assert.ok(pixels.photometricInterpretation);
      assert.equal(metaDataProvider('sopCommonModule', imageId).sopInstanceUID, instance.uid);

      const result = await getPixelData(url, imageId, accept, {});
      assert.equal(sha256(result.pixelData), hash, `${instance.file}, frame ${n + 1}`);
      assert.equal(getTransferSyntaxForContentType(result.contentType), instance.transferSyntax);

      if (expected.token) {
        continue; // range requests carry no token: with a session only
      }
      // Byte ranges, as for progressive loading: the first
      // piece, then the rest.
      const options = { retrieveOptions: { rangeIndex: 0, initialChunkSize: 64, chunkSize: 64 }, streamingData: { url } };
      const first = await getPixelData(url, imageId, accept, options);
      assert.equal(options.streamingData.encodedData.byteLength, Math.min(64, result.pixelData.length));
      assert.equal(options.streamingData.totalBytes, result.pixelData.length);
      assert.equal(getTransferSyntaxForContentType(first.contentType), instance.transferSyntax);
      if (options.streamingData.totalBytes > 64) {
        options.retrieveOptions.rangeIndex = -1;
        const rest = await getPixelData(url, imageId, accept, options);
        assert.equal(sha256(rest.pixelData), hash);
      }
    }
  }
}

for (const expected of JSON.parse(readFileSync(0, 'utf8'))) {
  try {
    await check(expected);
  } catch (error) {
    console.error(`Study ${expected.study}:`);
    throw error;
  }
}
