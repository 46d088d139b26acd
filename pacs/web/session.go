package web

import (
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/access"
)

// The records of openapi.yaml.
type (
	sessionRecord struct {
		User    userRecord `json:"user"`
		CSRF    string     `json:"csrf"`
		Version string     `json:"version"`
		Viewers []string   `json:"viewers"`
	}
	userRecord struct {
		ID            string           `json:"id"`
		Login         string           `json:"login"`
		Name          string           `json:"name"`
		Roles         []pacs.Role      `json:"roles"`
		AllFacilities bool             `json:"all_facilities"`
		Facilities    []facilityRecord `json:"facilities"`
		Groups        []Named          `json:"groups"`
		Language      string           `json:"language"`
	}
	facilityRecord struct {
		Code  string `json:"code"`
		Name  string `json:"name"`
		TaxID string `json:"tax_id,omitempty"`
	}
)

func (s *Server) sessionRoutes() {
	s.public.POST("/session", Handle(s.signIn))
	s.api.GET("/session", Handle(s.showSession))
	s.api.DELETE("/session", Handle(s.signOut))
	s.api.PUT("/session/language", Handle(s.setLanguage))
	s.api.PUT("/session/password", Handle(s.changePassword))
}

func (s *Server) signIn(c *gin.Context) error {
	// No CSRF header yet; but no other site shall sign somebody in.
	if err := s.sameOrigin(c); err != nil {
		return err
	}
	var in struct{ Login, Password string }
	if err := Body(c, &in); err != nil {
		return err
	}
	ctx, from := c.Request.Context(), remote(c)
	user, err := s.access.Authenticate(ctx, in.Login, in.Password, from)
	if err != nil {
		return err
	}
	// Whatever session the browser had ends here: the new one has a new name.
	if old, err := c.Request.Cookie(sessionCookie); err == nil && old.Value != "" {
		if err := s.access.EndSessionToken(ctx, old.Value); err != nil {
			return err
		}
	}
	token, _, err := s.access.StartSession(ctx, user, from)
	if err != nil {
		return err
	}
	identity, err := s.access.SessionByToken(ctx, token)
	if err != nil {
		return err
	}
	record, err := s.describe(c, identity)
	if err != nil {
		return err
	}
	c.Set(identityKey, identity.From(from)) // for the request log
	s.setCookie(c, token, int(s.cookieLife/time.Second))
	c.JSON(http.StatusOK, record)
	return nil
}

func (s *Server) showSession(c *gin.Context) error {
	record, err := s.describe(c, Identity(c))
	if err != nil {
		return err
	}
	c.JSON(http.StatusOK, record)
	return nil
}

func (s *Server) describe(c *gin.Context, identity *access.Identity) (*sessionRecord, error) {
	if identity.Session == nil || identity.User == nil {
		return nil, pacs.Errorf(pacs.Unauthenticated, "A token is no session. Sign in")
	}
	facilities, err := s.access.Facilities(c.Request.Context(), identity.Scope)
	if err != nil {
		return nil, err
	}
	groups := []Named{}
	if s.options.Groups != nil {
		found, err := s.options.Groups(c.Request.Context(), identity.User.ID)
		if err != nil {
			return nil, err
		}
		groups = append(groups, found...)
	}
	user := identity.User
	return &sessionRecord{
		User: userRecord{
			ID: strconv.FormatInt(user.ID, 10), Login: user.Login, Name: user.Name, Roles: inOrder(user.Roles),
			AllFacilities: identity.Scope.All, Facilities: facilityRecords(facilities), Groups: groups, Language: user.Language,
		},
		CSRF: identity.Session.CSRF, Version: s.options.Version,
		Viewers: s.viewersFor(identity),
	}, nil
}

// viewersFor lists the viewers of others that a person can open studies in.
func (s *Server) viewersFor(identity *access.Identity) []string {
	if !identity.Can(access.DICOMwebRead) {
		return []string{}
	}
	return append([]string{}, s.options.Viewers...)
}

func (s *Server) signOut(c *gin.Context) error {
	if err := s.access.EndSession(c.Request.Context(), Identity(c)); err != nil {
		return err
	}
	s.setCookie(c, "", -1)
	c.Status(http.StatusNoContent)
	return nil
}

func (s *Server) setLanguage(c *gin.Context) error {
	var in struct{ Language string }
	if err := Body(c, &in); err != nil {
		return err
	}
	if err := s.access.SetLanguage(c.Request.Context(), Identity(c), in.Language); err != nil {
		return err
	}
	c.Status(http.StatusNoContent)
	return nil
}

func (s *Server) changePassword(c *gin.Context) error {
	var in struct{ Current, New string }
	if err := Body(c, &in); err != nil {
		return err
	}
	if err := s.access.ChangePassword(c.Request.Context(), Identity(c), in.Current, in.New); err != nil {
		return err
	}
	c.Status(http.StatusNoContent)
	return nil
}

func (s *Server) setCookie(c *gin.Context, value string, maxAge int) {
	secure := s.options.SecureCookies == SecureAlways ||
		s.options.SecureCookies == SecureAuto && s.overTLS(c.Request)
	http.SetCookie(c.Writer, &http.Cookie{
		Name: sessionCookie, Value: value, Path: "/", MaxAge: maxAge,
		HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: secure,
	})
}

// inOrder returns the roles in the order in which they are shown.
func inOrder(roles []pacs.Role) []pacs.Role {
	ordered := []pacs.Role{}
	for _, role := range pacs.Roles {
		if slices.Contains(roles, role) {
			ordered = append(ordered, role)
		}
	}
	return ordered
}

func facilityRecords(list []pacs.Facility) []facilityRecord {
	records := make([]facilityRecord, len(list))
	for i, f := range list {
		records[i] = facilityRecord{Code: f.Code, Name: f.Name, TaxID: f.TaxID}
	}
	return records
}
