package main

import (
	"context"
	"fmt"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/access"
	"github.com/tasvir-pacs/tasvir/worklist"
	"github.com/tasvir-pacs/tasvir/worklist/orders"
)

// demoOrders are what is still to be examined today, an hour and more from now.
func demoOrders(now time.Time) []orders.Order {
	at := func(minutes int) time.Time {
		return time.Date(now.Year(), now.Month(), now.Day(), now.Hour(), 0, 0, 0, time.UTC).Add(time.Duration(minutes) * time.Minute)
	}
	order := func(number int, facility string, patient pacs.Patient, priority worklist.Priority, question string, step orders.Step) orders.Order {
		return orders.Order{
			Placer: fmt.Sprintf("DEMO-%s-%d", now.Format("20060102"), number), Facility: pacs.Facility{Code: facility}, Patient: patient, Priority: priority,
			Reason: step.Description, Question: question, Department: "Qabul boʻlimi", Physician: "Ergashev^Jasur^Anvarovich",
			Procedure: orders.Procedure{Description: step.Description}, Steps: []orders.Step{step},
		}
	}
	return []orders.Order{
		order(1, "URGUT", pacs.Patient{Name: "Сафаров^Ботир^Қодирович", PatientID: "U-5011", Sex: "M", BirthDate: "19640302"}, worklist.Stat, "Qon quyilishi bormi?",
			orders.Step{Modality: "CT", Stations: []string{"URGUT_CT1"}, Start: at(60), Description: "Bosh miya KT"}),
		order(2, "URGUT", pacs.Patient{Name: "Oʻrinboyeva^Gʻuncha^Hamidovna", PatientID: "U-5012", Sex: "F", BirthDate: "19900214"}, worklist.Routine, "",
			orders.Step{Modality: "CT", Start: at(90), Description: "Koʻkrak qafasi KT"}),
		order(3, "NUKUS", pacs.Patient{Name: "Иванова^Мария^Петровна", PatientID: "N-2207", Sex: "F", BirthDate: "19750921"}, worklist.Urgent, "Грыжа диска?",
			orders.Step{Modality: "MR", Stations: []string{"NUKUS_MR1"}, Start: at(75), Description: "МРТ поясничного отдела"}),
	}
}

// seedOrders enters the day's orders, those that are not there yet.
func seedOrders(ctx context.Context, node *Node) error {
	for _, o := range demoOrders(time.Now()) {
		if _, _, err := node.orders.Create(ctx, access.System("demo"), o); err != nil {
			return fmt.Errorf("demo order %s: %w", o.Placer, err)
		}
	}
	return nil
}
