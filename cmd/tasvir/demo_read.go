package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/access"
	"github.com/tasvir-pacs/tasvir/worklist"
	"github.com/tasvir-pacs/tasvir/worklist/report"
)

// priorReports are what was found months ago, by a word of the study's
// description.
var priorReports = map[string]report.Sections{
	"head": {
		Indication: "Bosh ogʻrigʻi, gipertoniya",
		Technique:  "Bosh miya KT, kontrastsiz, 1 mm kesimlar.",
		Findings:   "Miya moddasida oʻchoqli oʻzgarishlar aniqlanmadi. Qorinchalar kengaymagan, oʻrta chiziq siljimagan. Suyaklar butun.",
		Impression: "Patologik oʻzgarishlar aniqlanmadi.",
	},
	"brain": {
		Indication: "Оптический неврит",
		Technique:  "МРТ головного мозга, T1, T2, FLAIR.",
		Findings:   "Единичные очаги гиперинтенсивного сигнала на T2 и FLAIR перивентрикулярно, до 5 мм. Срединные структуры не смещены.",
		Impression: "Единичные очаги демиелинизации. Рекомендуется контроль через 12 месяцев.",
	},
}

// readPriors signs reports of the older demo studies, as a colleague did at
// the time, so that the worklist holds today's work only and the reports room
// has something to show.
func readPriors(ctx context.Context, node *Node) error {
	reader, err := node.Access.UserByLogin(ctx, access.System("demo"), "radiolog2")
	if err != nil {
		return err
	}
	scope := pacs.System("demo")
	tasks, _, err := node.Worklist.Tasks(ctx, scope, worklist.Filter{View: worklist.ViewOpen, UserID: reader.ID})
	if err != nil {
		return err
	}
	for _, task := range tasks {
		studies, err := node.Index.StudiesByID(ctx, scope, []int64{task.StudyID})
		if err != nil {
			return err
		}
		study := studies[task.StudyID]
		if time.Since(report.StudyTime(study)) < 60*24*time.Hour || task.State != worklist.Open {
			continue
		}
		for word, sections := range priorReports {
			if !strings.Contains(study.Description, word) {
				continue
			}
			if err := signPrior(ctx, node, scope, task, reader, sections); err != nil {
				return fmt.Errorf("the report of the earlier study: %w", err)
			}
		}
	}
	return nil
}

func signPrior(ctx context.Context, node *Node, scope pacs.Scope, task worklist.Task, reader *access.User, sections report.Sections) error {
	if _, err := node.Worklist.Claim(ctx, scope, task.ID, reader.ID); err != nil {
		return err
	}
	language := "uz-Latn"
	if strings.Contains(sections.Technique, "МРТ") {
		language = "ru"
	}
	draft, err := node.reports.SaveDraft(ctx, scope, task.ID, reader.ID, sections, language, 0)
	if err != nil {
		return err
	}
	_, err = node.reports.Sign(ctx, scope, task.ID, report.Signer{ID: reader.ID, Name: reader.Name}, draft.Revision)
	return err
}
