// The part of XMLHttpRequest that dicomweb-client and Cornerstone3D's loader
// use, over Node's fetch. The clients themselves are unmodified.

export class XMLHttpRequest {
  readyState = 0;
  status = 0;
  statusText = '';
  response = null;
  responseType = '';
  #headers = new Headers();
  #answer = null;

  open(method, url) {
    this.method = method.toUpperCase();
    // A browser resolves path-absolute addresses against the page.
    this.url = new URL(url, globalThis.pageOrigin).href;
    this.readyState = 1;
  }

  setRequestHeader(name, value) {
    this.#headers.append(name, value);
  }

  getResponseHeader(name) {
    return this.#answer?.headers.get(name) ?? null;
  }

  getAllResponseHeaders() {
    let lines = '';
    this.#answer?.headers.forEach((value, name) => {
      lines += `${name}: ${value}\r\n`;
    });
    return lines;
  }

  abort() {}

  send(body) {
    this.#send(body).catch((error) => {
      if (!this.onerror) {
        throw error;
      }
      this.onerror(error);
    });
  }

  async #send(body) {
    this.onloadstart?.({});
    this.#answer = await fetch(this.url, { method: this.method, headers: this.#headers, body });
    const bytes = await this.#answer.arrayBuffer();
    this.status = this.#answer.status;
    this.statusText = this.#answer.statusText;
    switch (this.responseType) {
      case 'arraybuffer':
        this.response = bytes;
        break;
      case 'json':
        // As browsers do: null for what is no JSON.
        try {
          this.response = JSON.parse(new TextDecoder().decode(bytes));
        } catch {
          this.response = null;
        }
        break;
      default:
        this.response = new TextDecoder().decode(bytes);
    }
    this.readyState = 4;
    this.onreadystatechange?.({});
    this.onloadend?.({});
  }
}

globalThis.XMLHttpRequest = XMLHttpRequest;
