package web

import (
	"net/http"
	"strconv"

	"github.com/gin-gonic/gin"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/access"
)

// The records of openapi.yaml.
type (
	personRecord struct {
		ID            string      `json:"id"`
		Login         string      `json:"login"`
		Name          string      `json:"name"`
		Roles         []pacs.Role `json:"roles"`
		Facilities    []string    `json:"facilities"`
		AllFacilities bool        `json:"all_facilities"`
		PINFL         string      `json:"pinfl,omitempty"`
		ARGOS         string      `json:"argos,omitempty"`
		Language      string      `json:"language"`
		Active        bool        `json:"active"`
	}
	// personInput is a personRecord as it comes in: what is absent stays, or
	// gets its default in a new record.
	personInput struct {
		Login         *string     `json:"login"`
		Name          *string     `json:"name"`
		Roles         []pacs.Role `json:"roles"`
		Facilities    []string    `json:"facilities"`
		AllFacilities *bool       `json:"all_facilities"`
		PINFL         *string     `json:"pinfl"`
		ARGOS         *string     `json:"argos"`
		Language      *string     `json:"language"`
		Active        *bool       `json:"active"`
		Password      *string     `json:"password"`
	}
)

func (s *Server) administrationRoutes() {
	admin := s.api.Group("/admin")
	admin.GET("/status", Require(access.AdminStatus), Handle(s.status))

	// Whoever manages devices or people chooses among facilities; the scope
	// says which.
	admin.GET("/facilities", Require(access.AdminDevices), Handle(s.listFacilities))
	admin.POST("/facilities", Require(access.AdminFacilities), Handle(s.addFacility))
	admin.PUT("/facilities/:code", Require(access.AdminFacilities), Handle(s.changeFacility))

	s.deviceRoutes(admin)

	admin.GET("/users", Require(access.AdminUsers), Handle(s.listUsers))
	admin.POST("/users", Require(access.AdminUsers), Handle(s.addUser))
	admin.PUT("/users/:id", Require(access.AdminUsers), Handle(s.changeUser))
}

func (s *Server) status(c *gin.Context) error {
	if s.options.Status == nil {
		c.JSON(http.StatusOK, gin.H{"version": s.options.Version, "started_at": s.startedAt.UTC()})
		return nil
	}
	status, err := s.options.Status(c.Request.Context())
	if err != nil {
		return err
	}
	c.JSON(http.StatusOK, status)
	return nil
}

func (s *Server) listFacilities(c *gin.Context) error {
	list, err := s.access.Facilities(c.Request.Context(), Identity(c).Scope)
	if err != nil {
		return err
	}
	c.JSON(http.StatusOK, gin.H{"facilities": facilityRecords(list)})
	return nil
}

func (s *Server) addFacility(c *gin.Context) error {
	var in facilityRecord
	if err := Body(c, &in); err != nil {
		return err
	}
	added, err := s.access.AddFacility(c.Request.Context(), Identity(c), pacs.Facility{Code: in.Code, Name: in.Name, TaxID: in.TaxID})
	if err != nil {
		return err
	}
	c.JSON(http.StatusCreated, facilityRecords([]pacs.Facility{added})[0])
	return nil
}

func (s *Server) changeFacility(c *gin.Context) error {
	var in facilityRecord
	if err := Body(c, &in); err != nil {
		return err
	}
	code := c.Param("code")
	if in.Code != "" && in.Code != code {
		return pacs.Errorf(pacs.Invalid, "A facility's code can't change: it is used in configuration and in stored studies")
	}
	changed, err := s.access.UpdateFacility(c.Request.Context(), Identity(c), pacs.Facility{Code: code, Name: in.Name, TaxID: in.TaxID})
	if err != nil {
		return err
	}
	c.JSON(http.StatusOK, facilityRecords([]pacs.Facility{changed})[0])
	return nil
}

// personRecordOf shows a person as the caller may see them: of the facilities,
// those in the caller's sight.
func personRecordOf(user *access.User, to *access.Identity) personRecord {
	record := personRecord{
		ID: strconv.FormatInt(user.ID, 10), Login: user.Login, Name: user.Name, Roles: inOrder(user.Roles),
		Facilities: []string{}, AllFacilities: user.AllFacilities, PINFL: user.PINFL, ARGOS: user.ARGOS,
		Language: user.Language, Active: user.Active,
	}
	for _, facility := range user.Facilities {
		if to.Scope.Sees(facility.ID) {
			record.Facilities = append(record.Facilities, facility.Code)
		}
	}
	return record
}

func (s *Server) listUsers(c *gin.Context) error {
	list, err := s.access.Users(c.Request.Context(), Identity(c))
	if err != nil {
		return err
	}
	records := make([]personRecord, len(list))
	for i := range list {
		records[i] = personRecordOf(&list[i], Identity(c))
	}
	c.JSON(http.StatusOK, gin.H{"users": records})
	return nil
}

func (s *Server) addUser(c *gin.Context) error {
	var in personInput
	if err := Body(c, &in); err != nil {
		return err
	}
	added, err := s.access.CreateUser(c.Request.Context(), Identity(c), access.NewUser{
		Login: value(in.Login), Name: value(in.Name), Password: value(in.Password), Roles: in.Roles, Facilities: in.Facilities,
		AllFacilities: value(in.AllFacilities), PINFL: value(in.PINFL), ARGOS: value(in.ARGOS), Language: value(in.Language),
		Inactive: in.Active != nil && !*in.Active,
	})
	if err != nil {
		return err
	}
	c.JSON(http.StatusCreated, personRecordOf(added, Identity(c)))
	return nil
}

func (s *Server) changeUser(c *gin.Context) error {
	id, err := access.ParseID(c.Param("id"))
	if err != nil {
		return err
	}
	var in personInput
	if err := Body(c, &in); err != nil {
		return err
	}
	if in.Password != nil && *in.Password == "" {
		in.Password = nil // a form whose field was left empty
	}
	changed, err := s.access.UpdateUser(c.Request.Context(), Identity(c), id, access.UserChange{
		Login: in.Login, Name: in.Name, Password: in.Password, Roles: in.Roles, Facilities: in.Facilities, AllFacilities: in.AllFacilities,
		PINFL: in.PINFL, ARGOS: in.ARGOS, Language: in.Language, Active: in.Active,
	})
	if err != nil {
		return err
	}
	c.JSON(http.StatusOK, personRecordOf(changed, Identity(c)))
	return nil
}

func value[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}
