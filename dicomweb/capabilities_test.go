package dicomweb

import (
	"encoding/json"
	"encoding/xml"
	"slices"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/index"
)

// Every route says what can be done with it, and nothing else.
func TestCapabilitiesAreTheRoutes(t *testing.T) {
	h := serve(twoImages(t), func(o *Options) {
		o.Rejections = new(index.Index)
		o.Rejecting = func(*gin.Context, pacs.Study, string, pacs.RejectionReason, string) error { return nil }
	}).(*gin.Engine)
	methods := map[string][]string{}
	for _, r := range h.Routes() {
		methods[r.Path] = append(methods[r.Path], r.Method)
	}
	known := map[string]bool{}
	for path, want := range methods {
		path = strings.TrimPrefix(path, "/dicom-web")
		for _, m := range want {
			key := m + " " + path
			if _, ok := transactions[key]; ok {
				known[key] = true
			} else if m != "OPTIONS" && m != "HEAD" && strings.Trim(path, "/") != "" {
				t.Errorf("%s is not described in transactions (capabilities.go)", key)
			}
		}
		if strings.Contains(path, "*") {
			path = strings.Replace(path, "*path", "7FE00010", 1)
		}
		for _, p := range []string{":study", ":series", ":instance", ":frames", ":workitem", ":aet", ":requester"} {
			path = strings.Replace(path, p, "1", 1)
		}
		w := call(t, h, "OPTIONS", path, nil)
		if w.Code != 200 {
			t.Errorf("OPTIONS %s: %d %s", path, w.Code, w.Body)
			continue
		}
		got := strings.Split(w.Header().Get("Allow"), ", ")
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s: Allow %q, routes %q", path, got, want)
		}
	}
	for key := range transactions {
		if !known[key] {
			t.Errorf("%s is described but not there", key)
		}
	}
}

func TestCapabilitiesOfTheService(t *testing.T) {
	h := serve(twoImages(t))
	for _, method := range []string{"OPTIONS", "GET"} {
		for _, target := range []string{"", "/"} {
			w := call(t, h, method, target, nil)
			want(t, w, 200)
			if ct := w.Header().Get("Content-Type"); ct != mediaWADL {
				t.Errorf("%s %s: %s", method, target, ct)
			}
			var a struct {
				XMLName   xml.Name
				Resources struct {
					Base     string `xml:"base,attr"`
					Resource []struct {
						Path   string `xml:"path,attr"`
						Method []struct {
							Name    string `xml:"name,attr"`
							ID      string `xml:"id,attr"`
							Request struct {
								Param []struct {
									Name string `xml:"name,attr"`
								} `xml:"param"`
							} `xml:"request"`
						} `xml:"method"`
					} `xml:"resource"`
				} `xml:"resources"`
			}
			if err := xml.Unmarshal(w.Body.Bytes(), &a); err != nil {
				t.Fatal(err)
			}
			if a.XMLName.Space != "http://wadl.dev.java.net/2009/02" || a.Resources.Base != "http://pacs.test/dicom-web" {
				t.Errorf("%v %s", a.XMLName, a.Resources.Base)
			}
			searches := 0
			for _, r := range a.Resources.Resource {
				for _, m := range r.Method {
					if m.ID == "SearchForSeries" {
						searches++
						var names []string
						for _, p := range m.Request.Param {
							names = append(names, p.Name)
						}
						// Each of them is taken without a word of warning.
						for _, name := range names {
							if w := get(t, h, "/series?"+name+"="); w.Code != 200 && !slices.Contains([]string{"fuzzymatching", "emptyvaluematching", "multiplevaluematching", "limit", "offset"}, name) || w.Header().Get("Warning") != "" {
								t.Errorf("%s: %d %s %s", name, w.Code, w.Header().Get("Warning"), w.Body)
							}
						}
						if !slices.Contains(names, "RequestAttributesSequence") || !slices.Contains(names, "Modality") {
							t.Errorf("parameters %q", names)
						}
					}
				}
			}
			if searches != 2 {
				t.Errorf("%d searches for series", searches)
			}
		}
	}
	w := call(t, h, "OPTIONS", "/studies", nil, "Accept", "application/json")
	want(t, w, 200)
	var d struct{ Resources []described }
	if err := json.Unmarshal(w.Body.Bytes(), &d); err != nil || len(d.Resources) < 10 || d.Resources[0].Path != "/studies" || len(d.Resources[0].Methods) != 2 {
		t.Errorf("%v: %s", err, w.Body)
	}
	want(t, call(t, h, "OPTIONS", "/studies", nil, "Accept", "image/png"), 406)
}

// Whatever can be had by GET answers HEAD with the same head.
func TestHeadEverywhere(t *testing.T) {
	h := serve(twoImages(t))
	for _, target := range []string{
		"/studies", "/series", "/instances", "/studies/1.2.3", "/studies/1.2.3/series", "/studies/1.2.3/instances", "/studies/1.2.3/metadata", ctPath,
		ctPath + "/instances", ctPath + "/metadata", ctPath + "/instances/1.2.3.1.1", ctPath + "/instances/1.2.3.1.1/metadata",
		ctPath + "/instances/1.2.3.1.1/frames/1", ctPath + "/instances/1.2.3.1.1/bulkdata/7FE00010", "/",
		"/studies/1.2.3/bulkdata", ctPath + "/bulkdata", ctPath + "/instances/1.2.3.1.1/bulkdata",
	} {
		g, w := get(t, h, target), call(t, h, "HEAD", target, nil)
		if w.Code != g.Code || w.Body.Len() != 0 {
			t.Errorf("HEAD %s: %d with %d bytes, GET %d", target, w.Code, w.Body.Len(), g.Code)
		}
		for _, name := range []string{"Content-Type", "ETag", "Link", "Warning"} {
			if w.Header().Get(name) != g.Header().Get(name) {
				t.Errorf("HEAD %s: %s %q, GET %q", target, name, w.Header().Get(name), g.Header().Get(name))
			}
		}
	}
}
