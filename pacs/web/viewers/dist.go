package viewers

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/tasvir-pacs/tasvir/pacs"
)

// appConfig is OHIF's configuration; index.html loads it before the program.
//
//go:embed config.js
var appConfig []byte

// Dist is the files of OHIF's web application, on disk; what is served is what
// was there when it was opened.
type Dist struct {
	root   *os.Root
	files  map[string]distFile
	policy string // Content-Security-Policy of its pages
}

type distFile struct {
	contentType string
	etag        string
	immutable   bool   // its name has a hash of its content
	zipped      bool   // NAME.gz lies beside it
	content     []byte // in place of what is on disk; nil for that
}

// Of what the application is published with, these are not served: they work
// together with services of others, or are notes to the servers of others.
var leftOut = []string{"sw.js", "google.js", "oidc-client.min.js", "silent-refresh.html", "_headers", "_redirects", "serve.json"}

// Files that index.html names and that are made here.
var madeHere = map[string][]byte{
	"app-config.js": appConfig,
	// The published one registers a service worker, which would go on showing
	// an old version after an update.
	"init-service-worker.js": []byte("// There is no service worker here.\n"),
}

var (
	hashedName   = regexp.MustCompile(`^(.*\.bundle\.[0-9a-f]{16}\.js|[0-9a-f]{16}\.wasm)$`)
	scriptTag    = regexp.MustCompile(`(?is)<script([^>]*)>(.*?)</script>`)
	scriptSource = regexp.MustCompile(`(?i)\ssrc\s*=`)
)

var contentTypes = map[string]string{
	".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8",
	".json": "application/json", ".jsonc": "application/json", ".wasm": "application/wasm", ".svg": "image/svg+xml",
	".png": "image/png", ".ico": "image/x-icon", ".gif": "image/gif", ".woff2": "font/woff2",
}

// OpenDist opens the folder with OHIF's index.html. Files named NAME.gz beside
// NAME are sent to who takes gzip. Invalid when it is no such folder. Close it.
func OpenDist(dir string) (_ *Dist, err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, pacs.Wrap(pacs.Invalid, err, "The folder with OHIF can't be opened; deploy/ohif.sh fetches it and prints where it is (--ohif-dist)")
	}
	defer func() {
		if err != nil {
			_ = root.Close()
		}
	}()
	d := &Dist{root: root, files: map[string]distFile{}}
	err = fs.WalkDir(root.FS(), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		extension := path.Ext(name)
		if !entry.Type().IsRegular() || strings.HasPrefix(path.Base(name), ".") || extension == ".gz" || extension == ".map" || slices.Contains(leftOut, name) {
			return nil
		}
		file, err := d.look(name)
		d.files[name] = file
		return err
	})
	if err != nil {
		return nil, pacs.Wrap(pacs.Invalid, err, "The folder with OHIF can't be read (--ohif-dist)")
	}
	for name, content := range madeHere {
		d.files[name] = made(name, content)
	}
	page, err := root.ReadFile("index.html")
	if err != nil || !scriptTag.Match(page) {
		err = pacs.Errorf(pacs.Invalid, "The folder %s has not OHIF's index.html; deploy/ohif.sh fetches OHIF and prints where it is (--ohif-dist)", dir)
		return nil, err
	}
	d.files["index.html"] = made("index.html", page)
	d.policy = pagePolicy(page)
	return d, nil
}

// look reads a file once, for what is told of it.
func (d *Dist) look(name string) (distFile, error) {
	file := distFile{contentType: typeOf(name), immutable: hashedName.MatchString(name)}
	opened, err := d.root.Open(name)
	if err != nil {
		return file, err
	}
	defer opened.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, opened); err != nil {
		return file, err
	}
	file.etag = etagOf(hash.Sum(nil))
	if info, err := d.root.Lstat(name + ".gz"); err == nil && info.Mode().IsRegular() {
		file.zipped = true
	}
	return file, nil
}

func made(name string, content []byte) distFile {
	sum := sha256.Sum256(content)
	return distFile{contentType: typeOf(name), etag: etagOf(sum[:]), content: content}
}

func etagOf(sum []byte) string { return `W/"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"` }

func typeOf(name string) string {
	extension := path.Ext(name)
	if known := contentTypes[extension]; known != "" {
		return known
	}
	if known := mime.TypeByExtension(extension); known != "" {
		return known
	}
	return "application/octet-stream"
}

// Close closes the folder.
func (d *Dist) Close() error { return d.root.Close() }

// pagePolicy permits a page its own inline scripts by their hashes, and
// nothing from elsewhere.
func pagePolicy(page []byte) string {
	scripts := "'self' 'wasm-unsafe-eval'"
	for _, tag := range scriptTag.FindAllSubmatch(page, -1) {
		if !scriptSource.Match(tag[1]) {
			sum := sha256.Sum256(tag[2])
			scripts += fmt.Sprintf(" 'sha256-%s'", base64.StdEncoding.EncodeToString(sum[:]))
		}
	}
	return policy(scripts)
}

// workerPolicy is what a script may do as a worker, where it has a policy of its
// own: OHIF decodes pictures there, with codecs that write functions as text.
var workerPolicy = policy("'self' 'unsafe-eval' 'wasm-unsafe-eval'")

func policy(scripts string) string {
	return "default-src 'self'; script-src " + scripts + "; worker-src 'self' blob:; img-src 'self' data: blob:; media-src 'self' blob:; " +
		"style-src 'self' 'unsafe-inline'; font-src 'self' data:; connect-src 'self' blob: data:; frame-src 'self' blob:; " +
		"object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
}
