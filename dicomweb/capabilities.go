package dicomweb

import (
	"encoding/json"
	"encoding/xml"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/matching"
)

// routeTable is what Register has mounted: the methods of each path, in the
// order in which they came. Capabilities are described from it, so they can't
// promise a route that isn't there, nor hide one.
type routeTable struct {
	paths   []string
	methods map[string][]string
}

func (t *routeTable) add(path string, methods ...string) {
	if t.methods == nil {
		t.methods = make(map[string][]string)
	}
	if t.methods[path] == nil {
		t.paths = append(t.paths, path)
	}
	t.methods[path] = append(t.methods[path], methods...)
}

// allow is the Allow header of a path.
func (t *routeTable) allow(path string) string {
	return strings.Join(append(slices.Clone(t.methods[path]), http.MethodOptions), ", ")
}

// transaction describes one method of one path, PS3.18.
type transaction struct {
	name    string // of the transaction
	section string
	// sends and takes are media types; of several parts, the parts' type behind
	// "multipart/related".
	sends, takes []string
	search       level // with parameters for matching
	searches     bool
}

var (
	sendsModels   = []string{mediaDICOMJSON, mediaJSON, `multipart/related; type="application/dicom+xml"`}
	sendsFiles    = []string{`multipart/related; type="application/dicom"`}
	sendsPixels   = []string{`multipart/related; type="application/octet-stream"`, mediaOctets, `multipart/related; type="image/*"`, "image/*", "video/*"}
	sendsPictures = pictureMedia
	sendsBulk     = []string{`multipart/related; type="application/octet-stream"`, mediaOctets}
	sendsAllBulk  = []string{`multipart/related; type="application/octet-stream"`, `multipart/related; type="image/*"`}
	takesStore    = []string{
		`multipart/related; type="application/dicom"`, mediaDICOM,
		`multipart/related; type="application/dicom+json"`, mediaDICOMJSON,
		`multipart/related; type="application/dicom+xml"`, mediaDICOMXML,
	}
)

// transactions by method and path.
var transactions = map[string]transaction{
	"GET /studies":                                 {name: "SearchForStudies", section: "10.6", sends: sendsModels, searches: true, search: studyLevel},
	"GET /series":                                  {name: "SearchForSeries", section: "10.6", sends: sendsModels, searches: true, search: seriesLevel},
	"GET /instances":                               {name: "SearchForInstances", section: "10.6", sends: sendsModels, searches: true, search: imageLevel},
	"GET /studies/:study/series":                   {name: "SearchForSeries", section: "10.6", sends: sendsModels, searches: true, search: seriesLevel},
	"GET /studies/:study/instances":                {name: "SearchForInstances", section: "10.6", sends: sendsModels, searches: true, search: imageLevel},
	"GET /studies/:study/series/:series/instances": {name: "SearchForInstances", section: "10.6", sends: sendsModels, searches: true, search: imageLevel},

	"GET /studies/:study":                                                   {name: "RetrieveStudy", section: "10.4", sends: sendsFiles},
	"GET /studies/:study/series/:series":                                    {name: "RetrieveSeries", section: "10.4", sends: sendsFiles},
	"GET /studies/:study/series/:series/instances/:instance":                {name: "RetrieveInstance", section: "10.4", sends: append(slices.Clone(sendsFiles), mediaDICOM)},
	"GET /studies/:study/metadata":                                          {name: "RetrieveStudyMetadata", section: "10.4.1.1.2", sends: sendsModels},
	"GET /studies/:study/series/:series/metadata":                           {name: "RetrieveSeriesMetadata", section: "10.4.1.1.2", sends: sendsModels},
	"GET /studies/:study/series/:series/instances/:instance/metadata":       {name: "RetrieveInstanceMetadata", section: "10.4.1.1.2", sends: sendsModels},
	"GET /studies/:study/series/:series/instances/:instance/frames/:frames": {name: "RetrieveFrames", section: "10.4.1.1.6", sends: sendsPixels},
	"GET /studies/:study/series/:series/instances/:instance/bulkdata/*path": {name: "RetrieveBulkdata", section: "10.4.1.1.5", sends: sendsBulk},

	"GET /wado": {name: "RetrieveByURI", section: "9.4", sends: append([]string{mediaDICOM}, sendsPictures...)},

	"POST /studies":        {name: "StoreInstances", section: "10.5", sends: []string{mediaDICOMJSON, mediaJSON, mediaDICOMXML}, takes: takesStore},
	"POST /studies/:study": {name: "StoreInstances", section: "10.5", sends: []string{mediaDICOMJSON, mediaJSON, mediaDICOMXML}, takes: takesStore},
}

func init() {
	for _, path := range []string{"/studies/:study", "/studies/:study/series/:series", "/studies/:study/series/:series/instances/:instance"} {
		transactions["POST "+path+"/reject/:code"] = transaction{name: "Reject", section: "(IHE RAD-66)"}
		transactions["DELETE "+path] = transaction{name: "Reject", section: "(IHE RAD-66)"}
	}
	for path, name := range map[string]string{
		"/studies/:study": "Study", "/studies/:study/series/:series": "Series", "/studies/:study/series/:series/instances/:instance": "Instance",
	} {
		transactions["GET "+path+"/bulkdata"] = transaction{name: "Retrieve" + name + "Bulkdata", section: "10.4.1.1.5", sends: sendsAllBulk}
	}
	// Pictures of each level.
	for path, name := range map[string]string{
		"/studies/:study": "Study", "/studies/:study/series/:series": "Series", "/studies/:study/series/:series/instances/:instance": "Instance",
		"/studies/:study/series/:series/instances/:instance/frames/:frames": "Frames",
	} {
		transactions["GET "+path+"/rendered"] = transaction{name: "RetrieveRendered" + name, section: "10.4.1.1.3", sends: sendsPictures}
		transactions["GET "+path+"/thumbnail"] = transaction{name: "Retrieve" + name + "Thumbnail", section: "10.4.1.1.4", sends: sendsPictures}
	}
}

// queryParameters of a search at a level: PS3.18 8.3.4 and all attributes that
// are matched by.
func queryParameters(at level) []string {
	var keys []string
	for t, k := range matchKeys {
		if k.level <= at {
			keys = append(keys, dicom.Keyword(t))
		}
	}
	for t := range matching.AllStored() {
		if (*storedKeys).takes(nil, t, at) {
			keys = append(keys, dicom.Keyword(t))
		}
	}
	slices.Sort(keys)
	return append(slices.Compact(keys), "includefield", "fuzzymatching", "emptyvaluematching", "multiplevaluematching", "limit", "offset")
}

// described is one resource in a capabilities description.
type described struct {
	Path    string            `json:"path"`
	Methods []describedMethod `json:"methods"`
}

type describedMethod struct {
	Name     string   `json:"name"`
	ID       string   `json:"id,omitempty"`
	Section  string   `json:"section,omitempty"` // of PS3.18
	Query    []string `json:"query,omitempty"`
	Requests []string `json:"requests,omitempty"` // media types that are taken
	Answers  []string `json:"answers,omitempty"`  // media types that are sent
}

// describe describes the resources at a path and below.
func (t *routeTable) describe(base string) []described {
	var list []described
	for _, path := range t.paths {
		if path != base && !strings.HasPrefix(path, strings.TrimSuffix(base, "/")+"/") {
			continue
		}
		d := described{Path: templateOf(path)}
		for _, method := range t.methods[path] {
			if method == http.MethodHead {
				continue
			}
			m := describedMethod{Name: method}
			if x, ok := transactions[method+" "+path]; ok {
				m.ID, m.Section, m.Requests, m.Answers = x.name, "PS3.18 "+x.section, x.takes, x.sends
				if x.searches {
					m.Query = queryParameters(x.search)
				}
			}
			d.Methods = append(d.Methods, m)
		}
		list = append(list, d)
	}
	return list
}

// templateOf writes a path as PS3.18 does: /studies/{study}.
func templateOf(path string) string {
	steps := strings.Split(path, "/")
	for i, s := range steps {
		if strings.HasPrefix(s, ":") || strings.HasPrefix(s, "*") {
			steps[i] = "{" + s[1:] + "}"
		}
	}
	return strings.Join(steps, "/")
}

const mediaWADL = "application/vnd.sun.wadl+xml"

// capabilities mounts OPTIONS for every path of the table, and the description
// of the whole service at its root: Retrieve Capabilities, PS3.18 8.9.
func (s *service) capabilities(r gin.IRouter, t *routeTable) {
	for _, path := range t.paths {
		r.OPTIONS(path, s.describe(t, path))
	}
	all := s.describe(t, "/")
	r.OPTIONS("", all)
	r.OPTIONS("/", all)
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		r.Handle(method, "", all)
		r.Handle(method, "/", all)
	}
}

func (s *service) describe(t *routeTable, path string) gin.HandlerFunc {
	list := t.describe(path)
	allow := t.allow(path)
	if path == "/" {
		allow = "GET, HEAD, OPTIONS"
	}
	return func(c *gin.Context) {
		c.Header("Allow", allow)
		c.Header("Vary", "Accept")
		o, err := negotiate(c.Request, []offer{{media: mediaWADL}, {media: mediaJSON}, {media: "application/xml"}, {media: mediaDICOMJSON}})
		if err != nil {
			s.Problem(c, err)
			return
		}
		var body []byte
		if o.media == mediaJSON || o.media == mediaDICOMJSON {
			o.media = mediaJSON
			body, err = json.Marshal(map[string]any{"base": s.serviceURL(c.Request), "resources": list})
		} else {
			body, err = wadl(s.serviceURL(c.Request), list)
		}
		if err != nil {
			s.Problem(c, err)
			return
		}
		c.Header("Content-Length", strconv.Itoa(len(body)))
		if c.Request.Method == http.MethodHead {
			c.Header("Content-Type", o.media)
			c.Status(http.StatusOK)
			c.Writer.WriteHeaderNow()
			return
		}
		c.Data(http.StatusOK, o.media, body)
	}
}

// wadl writes a description in the Web Application Description Language, as
// PS3.18 annex H.2 has it.
func wadl(base string, list []described) ([]byte, error) {
	type param struct {
		Name  string `xml:"name,attr"`
		Style string `xml:"style,attr"`
		Type  string `xml:"type,attr,omitempty"`
	}
	type representation struct {
		MediaType string `xml:"mediaType,attr"`
	}
	type message struct {
		Params          []param          `xml:"param"`
		Representations []representation `xml:"representation"`
	}
	type method struct {
		Name     string   `xml:"name,attr"`
		ID       string   `xml:"id,attr,omitempty"`
		Request  *message `xml:"request"`
		Response *message `xml:"response"`
	}
	type resource struct {
		Path    string   `xml:"path,attr"`
		Params  []param  `xml:"param"`
		Methods []method `xml:"method"`
	}
	type application struct {
		XMLName   xml.Name `xml:"http://wadl.dev.java.net/2009/02 application"`
		Resources struct {
			Base     string     `xml:"base,attr"`
			Resource []resource `xml:"resource"`
		} `xml:"resources"`
	}
	messageOf := func(query, media []string) *message {
		if len(query)+len(media) == 0 {
			return nil
		}
		m := &message{}
		for _, q := range query {
			m.Params = append(m.Params, param{Name: q, Style: "query"})
		}
		for _, v := range media {
			m.Representations = append(m.Representations, representation{v})
		}
		return m
	}
	var a application
	a.Resources.Base = base
	for _, d := range list {
		r := resource{Path: strings.TrimPrefix(d.Path, "/")}
		for _, step := range strings.Split(d.Path, "/") {
			if name, ok := strings.CutPrefix(step, "{"); ok {
				r.Params = append(r.Params, param{Name: strings.TrimSuffix(name, "}"), Style: "template", Type: "xs:string"})
			}
		}
		for _, m := range d.Methods {
			r.Methods = append(r.Methods, method{Name: m.Name, ID: m.ID, Request: messageOf(m.Query, m.Requests), Response: messageOf(nil, m.Answers)})
		}
		a.Resources.Resource = append(a.Resources.Resource, r)
	}
	b, err := xml.MarshalIndent(a, "", " ")
	return append([]byte(xml.Header), b...), err
}
