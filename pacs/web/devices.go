package web

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/access"
	"github.com/tasvir-pacs/tasvir/pacs/connectivity"
)

// deviceRecord is Device of openapi.yaml.
type deviceRecord struct {
	AETitle             string           `json:"ae_title"`
	Facility            string           `json:"facility"`
	Description         string           `json:"description,omitempty"`
	Host                string           `json:"host,omitempty"`
	Port                int              `json:"port,omitempty"`
	Services            []access.Service `json:"services"`
	Destination         bool             `json:"destination"`
	Notify              bool             `json:"notify"`
	AllFacilities       bool             `json:"all_facilities"`
	TransferSyntaxes    []string         `json:"transfer_syntaxes"`
	Charset             string           `json:"charset,omitempty"`
	AnswerCharset       string           `json:"answer_charset,omitempty"`
	TLS                 bool             `json:"tls"`
	TLSServerName       string           `json:"tls_server_name,omitempty"`
	Certificate         string           `json:"certificate,omitempty"`
	MaxAssociationsFrom int              `json:"max_associations_from"`
	MaxAssociationsTo   int              `json:"max_associations_to"`
	LastSeenAt          *time.Time       `json:"last_seen_at,omitempty"`
}

func deviceRecordOf(d access.Device) deviceRecord {
	record := deviceRecord{
		AETitle: d.AETitle, Facility: d.FacilityCode, Description: d.Description, Host: d.Host, Port: d.Port,
		Services: d.Services, Destination: d.Destination, Notify: d.Notify, AllFacilities: d.AllFacilities, TransferSyntaxes: d.TransferSyntaxes,
		Charset: d.Charset, AnswerCharset: d.AnswerCharset, TLS: d.TLS, TLSServerName: d.TLSServerName, Certificate: d.Certificate,
		MaxAssociationsFrom: d.MaxAssociationsFrom, MaxAssociationsTo: d.MaxAssociationsTo,
	}
	if !d.LastSeenAt.IsZero() {
		seen := d.LastSeenAt.UTC()
		record.LastSeenAt = &seen
	}
	return record
}

func (r deviceRecord) device() access.Device {
	return access.Device{
		AETitle: r.AETitle, FacilityCode: r.Facility, Description: r.Description, Host: r.Host, Port: r.Port,
		Services: r.Services, Destination: r.Destination, Notify: r.Notify, AllFacilities: r.AllFacilities, TransferSyntaxes: r.TransferSyntaxes,
		Charset: r.Charset, AnswerCharset: r.AnswerCharset, TLS: r.TLS, TLSServerName: r.TLSServerName, Certificate: r.Certificate,
		MaxAssociationsFrom: r.MaxAssociationsFrom, MaxAssociationsTo: r.MaxAssociationsTo,
	}
}

func (s *Server) deviceRoutes(admin *gin.RouterGroup) {
	devices := admin.Group("/devices", Require(access.AdminDevices))
	devices.GET("", Handle(s.listDevices))
	devices.POST("", Handle(s.addDevice))
	devices.PUT("/:aet", Handle(s.changeDevice))
	devices.DELETE("/:aet", Handle(s.removeDevice))
	devices.POST("/:aet/test", Handle(s.testDevice))
}

func (s *Server) listDevices(c *gin.Context) error {
	list, err := s.access.Devices(c.Request.Context(), Identity(c))
	if err != nil {
		return err
	}
	records := make([]deviceRecord, len(list))
	for i, d := range list {
		records[i] = deviceRecordOf(d)
	}
	c.JSON(http.StatusOK, gin.H{"devices": records})
	return nil
}

func (s *Server) addDevice(c *gin.Context) error {
	var in deviceRecord
	if err := Body(c, &in); err != nil {
		return err
	}
	added, err := s.access.AddDevice(c.Request.Context(), Identity(c), in.device())
	if err != nil {
		return err
	}
	c.JSON(http.StatusCreated, deviceRecordOf(added))
	return nil
}

// changeDevice changes what the content names; what is absent stays.
func (s *Server) changeDevice(c *gin.Context) error {
	var in json.RawMessage
	if err := Body(c, &in); err != nil {
		return err
	}
	title := c.Param("aet")
	changed, err := s.access.UpdateDevice(c.Request.Context(), Identity(c), title, func(d *access.Device) error {
		record := deviceRecordOf(*d)
		if err := json.Unmarshal(in, &record); err != nil {
			return bodyError(err)
		}
		if record.AETitle != title {
			return pacs.Errorf(pacs.Invalid, "A device's AE title can't change. Add the new one and remove the old")
		}
		*d = record.device()
		return nil
	})
	if err != nil {
		return err
	}
	c.JSON(http.StatusOK, deviceRecordOf(changed))
	return nil
}

func (s *Server) removeDevice(c *gin.Context) error {
	if err := s.access.RemoveDevice(c.Request.Context(), Identity(c), c.Param("aet")); err != nil {
		return err
	}
	c.Status(http.StatusNoContent)
	return nil
}

type (
	testRecord struct {
		OK               bool          `json:"ok"`
		Steps            []stepRecord  `json:"steps"`
		RoundTrip        float64       `json:"round_trip_seconds,omitempty"`
		Software         string        `json:"software,omitempty"`
		MaxPDU           uint32        `json:"max_pdu"`
		Classes          []takenRecord `json:"classes"`
		TransferSyntaxes []takenRecord `json:"transfer_syntaxes"`
	}
	stepRecord struct {
		Stage   connectivity.Stage `json:"stage"`
		Code    connectivity.Code  `json:"code"`
		Warning bool               `json:"warning"`
		Detail  string             `json:"detail,omitempty"`
		Seconds float64            `json:"seconds"`
	}
	takenRecord struct {
		UID   string `json:"uid"`
		Name  string `json:"name"`
		Taken bool   `json:"taken"`
	}
)

// testDevice tries whether the archive and a device can talk. It reaches only
// what somebody with the right registered, and the audit trail says where it
// went: who wanted to scan the hospital's network with it would be seen.
func (s *Server) testDevice(c *gin.Context) error {
	ctx, who := c.Request.Context(), Identity(c)
	device, err := s.access.DeviceByTitle(ctx, who, c.Param("aet"))
	if err != nil {
		return err
	}
	if err := s.access.Note(ctx, who.Event("device.test", "device:"+device.AETitle, device.FacilityID).Because(device.Address())); err != nil {
		return err
	}
	report, err := s.options.Connectivity.Test(ctx, device)
	if err != nil {
		return err
	}
	record := testRecord{
		OK: report.OK, RoundTrip: report.RoundTrip.Seconds(), Software: report.Software, MaxPDU: report.MaxPDU,
		Steps: make([]stepRecord, len(report.Steps)), Classes: takenRecords(report.Classes), TransferSyntaxes: takenRecords(report.TransferSyntaxes),
	}
	for i, step := range report.Steps {
		record.Steps[i] = stepRecord{step.Stage, step.Code, step.Warning, step.Detail, step.Took}
	}
	c.JSON(http.StatusOK, record)
	return nil
}

func takenRecords(list []connectivity.Taken) []takenRecord {
	records := make([]takenRecord, len(list))
	for i, t := range list {
		records[i] = takenRecord(t)
	}
	return records
}
