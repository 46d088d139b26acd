// Package viewer holds Tasvir's web client and carries its build in the binary.
//
// The client is TypeScript; `npm ci --ignore-scripts && npm run build` in this
// folder writes it to dist/, and [Files] serves what was there when the Go
// binary was built ([Built] says whether anything was).
//
// How the client is laid out:
//
//	src/api      the typed client of the server's API (pacs/web/openapi.yaml), events, a small cache
//	src/engine   images: Cornerstone3D behind a few small classes; no React in it
//	src/words    the four languages, dates and numbers
//	src/parts    what several rooms share: banner, buttons, problems, keys
//	src/rooms    sign-in, worklist, reading, reports, patients, orders, administration
//	src/style    design tokens (tokens.css is the only file with a colour in it) and the rules built on them
//	mock         a server of the same API with generated pictures, for development and tests
//	browser      tests that drive Chromium, against the mock or a real server
package viewer
