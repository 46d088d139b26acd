package viewers

import (
	"context"
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/access"
	"github.com/tasvir-pacs/tasvir/pacs/web"
)

// Studies finds a study in sight of somebody; NotFound otherwise. The index is
// one.
type Studies interface {
	Study(ctx context.Context, scope pacs.Scope, studyUID string) (pacs.Study, error)
}

// API is what the client asks for the addresses that open a study.
type API struct {
	Access  *access.Access
	Studies Studies
	// Origin is the scheme, host and port by which the caller's browser reaches
	// this archive.
	Origin func(*http.Request) string

	// OHIF is the origin of OHIF's host as the caller's browser reaches it;
	// nil where there is none.
	OHIF func(*http.Request) string
	// Weasis says that studies may be opened in Weasis.
	Weasis bool
	// DICOMweb is the address of DICOMweb that Weasis is told; empty for
	// /dicom-web at Origin.
	DICOMweb string
}

// Names lists the viewers there are, as GET /api/session shows them.
func (a *API) Names() []string {
	names := []string{}
	if a.OHIF != nil {
		names = append(names, string(access.OHIF))
	}
	if a.Weasis {
		names = append(names, string(access.Weasis))
	}
	return names
}

// Register adds the routes of the viewers there are.
func (a *API) Register(api *gin.RouterGroup) {
	if a.OHIF != nil {
		api.POST("/ohif/launch", web.Require(access.DICOMwebRead), web.Handle(a.launchOHIF))
	}
	if a.Weasis {
		api.POST("/weasis/launch", web.Require(access.DICOMwebRead), web.Handle(a.launchWeasis))
	}
}

func (a *API) launchOHIF(c *gin.Context) error {
	study, err := a.study(c)
	if err != nil {
		return err
	}
	code, err := a.Access.LaunchCode(c.Request.Context(), web.Identity(c), study)
	if err != nil {
		return err
	}
	c.JSON(http.StatusOK, gin.H{"url": a.OHIF(c.Request) + "/launch?code=" + code})
	return nil
}

func (a *API) launchWeasis(c *gin.Context) error {
	study, err := a.study(c)
	if err != nil {
		return err
	}
	token, err := a.Access.WeasisToken(c.Request.Context(), web.Identity(c), study)
	if err != nil {
		return err
	}
	root := a.DICOMweb
	if root == "" {
		root = a.Origin(c.Request) + "/dicom-web"
	}
	address, err := WeasisURL(root, study.StudyInstanceUID, token)
	if err != nil {
		return err
	}
	c.JSON(http.StatusOK, gin.H{"url": address})
	return nil
}

// study is the one the request names, if the caller sees it.
func (a *API) study(c *gin.Context) (pacs.Study, error) {
	var in struct {
		StudyUID string `json:"study_uid"`
	}
	if err := web.Body(c, &in); err != nil {
		return pacs.Study{}, err
	}
	return a.Studies.Study(c.Request.Context(), web.Identity(c).Scope, in.StudyUID)
}
