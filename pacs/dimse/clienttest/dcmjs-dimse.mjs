// dcmjs-dimse as a DICOM client and a DICOM server.
//
//   dcmjs-dimse.mjs scu            does what the JSON of its standard input asks for,
//                                  over one association, and prints what came of it
//   dcmjs-dimse.mjs scp OPTIONS    answers at a port and appends a line of JSON to a
//                                  file for everything that it is sent
import { createHash } from 'node:crypto';
import { appendFileSync, readFileSync } from 'node:fs';
import dcmjsDimse from 'dcmjs-dimse';

const { Client, Dataset, Scp, Server, Transcoding, constants, requests, responses, log } = dcmjsDimse;
const { PresentationContext } = dcmjsDimse.association;
const { PresentationContextResult, Status } = constants;
log.setLevel('silent');

/** PS3.4 Table C.4-1: optional keys of the identifier were not matched by. */
const pendingWithKeysIgnored = 0xff01;

/** What of a data set the tests look at: its JSON, pixel data as a hash. */
function shown(dataset) {
  if (!dataset) return undefined;
  const elements = { ...dataset.getElements() };
  delete elements._vrMap;
  if (elements.PixelData) {
    const hash = createHash('sha256');
    for (const fragment of elements.PixelData) hash.update(Buffer.from(fragment));
    elements.PixelData = hash.digest('hex');
  }
  return { transferSyntax: dataset.getTransferSyntaxUid(), elements };
}

function security({ ca, cert, key }, server) {
  const read = (file) => (file ? readFileSync(file) : undefined);
  return { ca: read(ca), cert: read(cert), key: read(key), requestCert: server, rejectUnauthorized: true };
}

/** A request of dcmjs-dimse from its description; context is the class of its presentation context where that is another. */
function make(rq) {
  const withData = (request) => {
    if (rq.elements) request.setDataset(new Dataset(rq.elements));
    return request;
  };
  switch (rq.operation) {
    case 'echo':
      return new requests.CEchoRequest();
    case 'find': {
      const request = requests.CFindRequest.createStudyFindRequest(rq.elements);
      if (!rq.sopClass) return request;
      request.setAffectedSopClassUid(rq.sopClass);
      return withData(request);
    }
    case 'worklist':
      return requests.CFindRequest.createWorklistFindRequest(rq.elements);
    case 'store': {
      const request = new requests.CStoreRequest(rq.file);
      if (rq.transferSyntax) request.setAdditionalTransferSyntaxes(rq.transferSyntax);
      return request;
    }
    case 'move':
      return requests.CMoveRequest.createStudyMoveRequest(rq.destination, rq.study);
    case 'get':
      return requests.CGetRequest.createStudyGetRequest(rq.study);
    case 'create':
      return withData(new requests.NCreateRequest(rq.sopClass, rq.sopInstance, rq.context));
    case 'set':
      return withData(new requests.NSetRequest(rq.sopClass, rq.sopInstance, rq.context));
    case 'action':
      return withData(new requests.NActionRequest(rq.sopClass, rq.sopInstance, rq.action, rq.context));
    case 'attributes':
      return new requests.NGetRequest(rq.sopClass, rq.sopInstance, rq.attributes, rq.context);
    default:
      throw new Error(`no operation ${rq.operation}`);
  }
}

async function scu() {
  const input = JSON.parse(readFileSync(0, 'utf8'));
  await Transcoding.initializeAsync();
  const answers = input.requests.map(() => ({ pending: 0, matches: [] }));
  const received = [];
  const out = { answers, received, error: '' };
  const client = new Client();
  input.requests.forEach((rq, i) => {
    const request = make(rq);
    request.on('response', (response) => {
      const answer = answers[i];
      if (response.getStatus() === Status.Pending || response.getStatus() === pendingWithKeysIgnored) {
        answer.pending++;
        if (response.hasDataset()) answer.matches.push(shown(response.getDataset()).elements);
        return;
      }
      answer.status = response.getStatus();
      answer.comment = response.getErrorComment?.() ?? '';
      if (response.hasDataset()) answer.elements = shown(response.getDataset()).elements;
      if (response.getCompleted) {
        answer.completed = response.getCompleted();
        answer.failed = response.getFailures();
        answer.warnings = response.getWarnings();
      }
    });
    client.addRequest(request);
  });
  for (const sopClass of input.listens ?? []) {
    const context = new PresentationContext(0, sopClass);
    context.addTransferSyntaxUid(constants.TransferSyntax.ExplicitVRLittleEndian);
    client.addAdditionalPresentationContext(context);
  }
  client.on('cStoreRequest', (request, callback) => {
    received.push(shown(request.getDataset()));
    const response = responses.CStoreResponse.fromRequest(request);
    response.setStatus(Status.Success);
    callback(response);
  });
  client.on('nEventReportRequest', (request, callback) => {
    received.push({ operation: 'NEventReport', sopInstance: request.getAffectedSopInstanceUid(), event: request.getEventTypeId(), elements: shown(request.getDataset()).elements });
    const response = responses.NEventReportResponse.fromRequest(request);
    response.setStatus(Status.Success);
    callback(response);
  });
  await new Promise((resolve) => {
    client.on('associationRejected', (why) => {
      out.error = `rejected: ${JSON.stringify(why)}`;
      resolve();
    });
    client.on('networkError', (error) => {
      out.error = String(error);
      resolve();
    });
    client.on('associationReleased', resolve);
    client.on('closed', resolve);
    client.send(input.host, input.port, input.calling, 'TASVIR', {
      associationLingerTimeout: input.linger ?? 0,
      ...(input.tls ? { securityOptions: security(input.tls, false) } : {}),
    });
  });
  process.stdout.write(`${JSON.stringify(out)}\n`, () => process.exit(0));
}

async function scp() {
  const { port, file, tls } = JSON.parse(process.argv[3]);
  await Transcoding.initializeAsync();
  const note = (what) => appendFileSync(file, `${JSON.stringify(what)}\n`);
  const answer = (kind, request, callback, more) => {
    note({ operation: kind, sopInstance: request.getAffectedSopInstanceUid?.(), ...more, ...shown(request.getDataset()) });
    const response = responses[`${kind}Response`].fromRequest(request);
    response.setStatus(Status.Success);
    callback(response);
  };
  class Station extends Scp {
    associationRequested(association) {
      for (const { id } of association.getPresentationContexts()) {
        const context = association.getPresentationContext(id);
        context.setResult(PresentationContextResult.Accept, context.getTransferSyntaxUids()[0]);
      }
      this.sendAssociationAccept();
    }
    cEchoRequest(request, callback) {
      answer('CEcho', request, callback);
    }
    cStoreRequest(request, callback) {
      answer('CStore', request, callback);
    }
    nCreateRequest(request, callback) {
      answer('NCreate', request, callback);
    }
    nEventReportRequest(request, callback) {
      answer('NEventReport', request, callback, { event: request.getEventTypeId() });
    }
    associationReleaseRequested() {
      this.sendAssociationReleaseResponse();
    }
  }
  const server = new Server(Station);
  server.on('networkError', () => {});
  server.listen(port, tls ? { securityOptions: security(tls, true) } : {});
}

await { scu, scp }[process.argv[2]]();
