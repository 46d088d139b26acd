package main

import (
	"context"
	"fmt"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/access"
	"github.com/tasvir-pacs/tasvir/worklist"
)

// The demo's hospitals, senders and people. The radiologists' numbers are
// those that the FHIR sandbox knows as practitioners.
var (
	demoFacilities = []pacs.Facility{
		{Code: "URGUT", Name: "Urgut tuman shifoxonasi", TaxID: "300000002"},
		{Code: "NUKUS", Name: "Nukus shahar shifoxonasi", TaxID: "300000003"},
		{Code: "CHUST", Name: "Chust tuman shifoxonasi"},
	}
	demoDevices = []access.Device{
		{AETitle: "URGUT_CT1", FacilityCode: "URGUT", Description: "CT, ground floor", Charset: "windows-1251"},
		{AETitle: "NUKUS_MR1", FacilityCode: "NUKUS", Description: "MRI"},
		{AETitle: "NUKUS_CR1", FacilityCode: "NUKUS", Description: "Radiography"},
		{AETitle: "CHUST_CT1", FacilityCode: "CHUST", Description: "CT"},
		{AETitle: "CHUST_DX1", FacilityCode: "CHUST", Description: "Digital radiography"},
	}
	// demoServices are what they may ask for.
	demoServices = []access.Service{access.Store, access.Commitment, access.Worklist, access.MPPS}
	demoPeople   = []access.NewUser{
		{Login: "radiolog", Name: "Karimova Nilufar Rustamovna", Roles: []pacs.Role{pacs.Radiologist}, AllFacilities: true, PINFL: "30101800000011", ARGOS: "DEMO-0001", Language: "uz-Latn"},
		{Login: "radiolog2", Name: "Ғаниев Ўткир Ҳамидович", Roles: []pacs.Role{pacs.Radiologist}, AllFacilities: true, PINFL: "30202750000022", ARGOS: "DEMO-0002", Language: "uz-Cyrl"},
		{Login: "shifokor", Name: "Ergashev Jasur Anvarovich", Roles: []pacs.Role{pacs.Clinician}, Facilities: []string{"URGUT"}, Language: "uz-Latn"},
		{Login: "laborant", Name: "Ибрагимова Елена Сергеевна", Roles: []pacs.Role{pacs.Technician}, Facilities: []string{"NUKUS"}, Language: "ru"},
		{Login: "qabul", Name: "Saidova Lola Akramovna", Roles: []pacs.Role{pacs.Registrar}, Facilities: []string{"URGUT"}, Language: "uz-Latn"},
		{Login: "boshliq", Name: "Toshmatov Sardor Olimovich", Roles: []pacs.Role{pacs.FacilityAdministrator}, Facilities: []string{"URGUT"}, Language: "uz-Latn"},
	}
)

// seedPeople makes facilities, devices, people, a reading group and a routing
// rule, those that are not there yet.
func seedPeople(ctx context.Context, node *Node) error {
	by := access.System("demo")
	for _, f := range demoFacilities {
		if _, err := node.Access.AddFacility(ctx, by, f); err != nil && pacs.CodeOf(err) != pacs.Conflict {
			return fmt.Errorf("demo facility %s: %w", f.Code, err)
		}
	}
	for _, d := range demoDevices {
		d.Services = demoServices
		if _, err := node.Access.AddDevice(ctx, by, d); err != nil && pacs.CodeOf(err) != pacs.Conflict {
			return fmt.Errorf("demo device %s: %w", d.AETitle, err)
		}
	}
	var radiologists []int64
	for _, p := range demoPeople {
		p.Password = demoPassword
		user, err := node.Access.UserByLogin(ctx, by, p.Login)
		if pacs.CodeOf(err) == pacs.NotFound {
			user, err = node.Access.CreateUser(ctx, by, p)
		}
		if err != nil {
			return fmt.Errorf("demo account %s: %w", p.Login, err)
		}
		if p.Roles[0] == pacs.Radiologist {
			radiologists = append(radiologists, user.ID)
		}
	}
	groups, err := node.Worklist.Groups(ctx)
	if err != nil || len(groups) > 0 {
		return err
	}
	group, err := node.Worklist.AddGroup(ctx, worklist.Group{Name: "Markaziy guruh", Members: radiologists})
	if err != nil {
		return err
	}
	_, err = node.Worklist.AddRule(ctx, worklist.Rule{
		Name: "Insult: 60 daqiqa", Condition: `study.description.contains("stroke") || study.question.contains("stroke")`,
		GroupID: group.ID, Priority: worklist.Stat, Deadline: time.Hour, Active: true,
	})
	if err != nil {
		return err
	}
	_, err = node.Worklist.AddRule(ctx, worklist.Rule{
		Name: "KT va MRT", Condition: `study.modalities.exists(m, m in ["CT", "MR"])`,
		GroupID: group.ID, Priority: worklist.Urgent, Deadline: 4 * time.Hour, Active: true,
	})
	if err != nil {
		return err
	}
	_, err = node.Worklist.AddRule(ctx, worklist.Rule{
		Name: "Qolgan hammasi", GroupID: group.ID, Priority: worklist.Routine, Deadline: 24 * time.Hour, Active: true,
	})
	return err
}
