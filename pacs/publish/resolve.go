package publish

import (
	"bytes"
	"cmp"
	"context"
	"hash/fnv"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/index"
)

// resolve looks at the packs of each study together and plans which instance
// is taken from which pack, under which version. Its result does not depend on
// the order in which the packs were read.
func (r *reindexing) resolve(ctx context.Context) error {
	if _, err := r.Index.Pool().Exec(ctx, `ANALYZE reindex_pack`); err != nil {
		return failure(err)
	}
	rows, err := r.Index.Pool().Query(ctx, `
		SELECT key, study_uid, facility, issuer, patient_id, rank, received, sops, hashes, kept, stripped, versions, arrivals
		FROM reindex_pack p WHERE EXISTS (SELECT 1 FROM reindex_pack q WHERE q.study_uid = p.study_uid AND q.state = 'read')
		ORDER BY study_uid, key`)
	if err != nil {
		return failure(err)
	}
	defer rows.Close()
	var study []*stagedPack
	for rows.Next() {
		p := &stagedPack{}
		if err := rows.Scan(&p.Key, &p.Study, &p.Facility, &p.Issuer, &p.PatientID, &p.Rank, &p.Received, &p.SOPs, &p.Hashes, &p.Kept, &p.Stripped, &p.Versions, &p.Arrivals); err != nil {
			return failure(err)
		}
		if len(p.Kept) == 0 {
			p.Kept = p.Hashes
		}
		if len(study) > 0 && study[0].Study != p.Study {
			if err := r.resolveStudy(ctx, study); err != nil {
				return err
			}
			study = study[:0]
		}
		study = append(study, p)
	}
	if err := rows.Err(); err != nil {
		return failure(err)
	}
	return r.resolveStudy(ctx, study)
}

func (r *reindexing) resolveStudy(ctx context.Context, packs []*stagedPack) error {
	if len(packs) == 0 {
		return nil
	}
	var existing []knownInstance
	facility := ""
	if r.Add {
		var err error
		if facility, existing, err = r.known(ctx, packs[0].Study); err != nil {
			return err
		}
	}
	plan(packs, existing, facility)
	first := packs[0]
	for _, p := range packs {
		if earlier(p, first) < 0 {
			first = p
		}
	}
	var batch pgx.Batch
	for _, p := range packs {
		contained := len(p.Plan) > 0 && !slices.ContainsFunc(p.Plan, func(v int32) bool { return v > 0 })
		state := stateResolved
		if contained || len(p.Plan) == 0 {
			state = stateDone
		}
		batch.Queue(`UPDATE reindex_pack SET plan = $2, lane = $3, contained = $4, facility = $5, state = $6 WHERE key = $1 AND state IN ('read', 'resolved')`,
			p.Key, orEmpty(p.Plan), laneOf(first), contained, p.Facility, state)
	}
	return failure(r.Index.Pool().SendBatch(ctx, &batch).Close())
}

// laneOf spreads patients over lanes. Whoever may be one person to the index
// is in one lane.
func laneOf(p *stagedPack) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(strings.ToLower(strings.TrimSpace(p.PatientID))))
	return int(h.Sum32() % lanes)
}

func earlier(a, b *stagedPack) int {
	return cmp.Or(a.Received.Compare(b.Received), cmp.Compare(a.Key, b.Key))
}

// knownInstance is a version that the index has already.
type knownInstance struct {
	sop      string
	received []byte // hash of what was received
	kept     []byte // and of what is kept
	version  int32
}

func (r *reindexing) known(ctx context.Context, study string) (facility string, known []knownInstance, err error) {
	rows, err := r.Index.Pool().Query(ctx, `
		SELECT f.code, i.sop_uid, `+index.ReceivedHash+`, i.sha256, i.version FROM study s JOIN facility f ON f.id = s.facility_row
		JOIN instance i ON i.study_row = s.id WHERE s.study_uid = $1`, study)
	if err != nil {
		return "", nil, failure(err)
	}
	var k knownInstance
	_, err = pgx.ForEachRow(rows, []any{&facility, &k.sop, &k.received, &k.kept, &k.version}, func() error {
		known = append(known, knownInstance{k.sop, slices.Clone(k.received), slices.Clone(k.kept), k.version})
		return nil
	})
	return facility, known, failure(err)
}

// claim is one distinct content of an instance, as it was received, with the
// best place for it.
type claim struct {
	sop, key string // key: entryKeyOf
	version  int32  // the highest that a manifest gives it; 0 when none does
	fixed    bool   // the index has it under this version
	received time.Time
	pack     *stagedPack // nil when it is fixed
	at       int
}

// plan sets each pack's Plan, and the facility of those that lost it.
//
// Of the packs that hold one content, the one with a manifest, the sound one,
// the one with most instances, the one in which most are no longer as they were
// received, and then the one whose key sorts first gives it: so that of a merged
// pack and those it was made of, the merged is taken whole and the others are
// contained.
//
// What is kept compressed, or without its pixel data, is known by the hash of
// what was received, which the manifest has. Where that is lost the hash of what
// is kept tells, if somebody else knows that. What is there with its pixel data
// and without is there with them: it was restored, or the deletion did not come
// about. Those that did are left out before (Deletion).
//
// A publisher that raced with another may have left a pack with a version
// number that it then found taken; the higher number is the one it got. Where
// two contents still claim one number, the one received first keeps it.
func plan(packs []*stagedPack, existing []knownInstance, facility string) {
	packs = slices.Clone(packs)
	slices.SortFunc(packs, func(a, b *stagedPack) int {
		return cmp.Or(cmp.Compare(b.Rank, a.Rank), cmp.Compare(len(b.SOPs), len(a.SOPs)), cmp.Compare(b.rewritten(), a.rewritten()), cmp.Compare(a.Key, b.Key))
	})
	claims := map[string]*claim{}
	bySOP := map[string][]*claim{}
	received := map[string]string{} // the key as received, by that of what is kept
	for _, k := range existing {
		c := &claim{sop: k.sop, key: entryKeyOf(k.sop, k.received), version: k.version, fixed: true}
		claims[c.key] = c
		bySOP[c.sop] = append(bySOP[c.sop], c)
		received[entryKeyOf(k.sop, k.kept)] = c.key
	}
	for _, p := range packs {
		for i, sop := range p.SOPs {
			if !bytes.Equal(p.Hashes[i], p.Kept[i]) {
				received[entryKeyOf(sop, p.Kept[i])] = entryKeyOf(sop, p.Hashes[i])
			}
		}
	}
	take := func(p *stagedPack, i int) {
		sop := p.SOPs[i]
		key := entryKeyOf(sop, p.Hashes[i])
		if other, ok := received[key]; ok {
			key = other
		}
		c := claims[key]
		if c == nil {
			c = &claim{sop: sop, key: key, pack: p, at: i, received: p.Arrivals[i]}
			claims[key] = c
			bySOP[sop] = append(bySOP[sop], c)
		}
		if !c.fixed {
			c.version = max(c.version, p.Versions[i])
			if p.Arrivals[i].Before(c.received) {
				c.received = p.Arrivals[i]
			}
		}
	}
	for _, stripped := range []bool{false, true} {
		for _, p := range packs {
			p.Plan = make([]int32, len(p.SOPs))
			for i := range p.SOPs {
				if (i < len(p.Stripped) && p.Stripped[i]) == stripped {
					take(p, i)
				}
			}
		}
	}
	for _, same := range bySOP {
		numberVersions(same)
		for _, c := range same {
			if !c.fixed {
				c.pack.Plan[c.at] = c.version
			}
		}
	}
	fillFacility(packs, facility)
}

// rewritten counts the instances that are not as they were received.
func (p *stagedPack) rewritten() (n int) {
	for i := range p.Hashes {
		if !bytes.Equal(p.Hashes[i], p.Kept[i]) {
			n++
		}
	}
	return n
}

// numberVersions gives the contents of one instance distinct versions.
func numberVersions(same []*claim) {
	unknownLast := func(v int32) int32 {
		if v <= 0 {
			return 1<<31 - 1
		}
		return v
	}
	slices.SortFunc(same, func(a, b *claim) int {
		return cmp.Or(
			cmp.Compare(unknownLast(a.version), unknownLast(b.version)),
			a.received.Compare(b.received), cmp.Compare(a.key, b.key))
	})
	taken := map[int32]bool{}
	for _, c := range same {
		if c.fixed {
			taken[c.version] = true
		}
	}
	for _, c := range same {
		if c.fixed {
			continue
		}
		c.version = max(c.version, 1)
		for taken[c.version] {
			c.version++
		}
		taken[c.version] = true
	}
}

// fillFacility gives a pack without a manifest the owner of its study.
func fillFacility(packs []*stagedPack, facility string) {
	var first *stagedPack
	for _, p := range packs {
		if p.Facility != "" && (first == nil || earlier(p, first) < 0) {
			first = p
		}
	}
	if facility == "" && first != nil {
		facility = first.Facility
	}
	if facility == "" {
		facility = pacs.Unassigned
	}
	for _, p := range packs {
		if p.Facility == "" {
			p.Facility = facility
		}
	}
}

// settle brings what is counted over a study in line with its rows: versions
// may have been added in another order than they came.
func (r *reindexing) settle(ctx context.Context) error {
	return r.settleStudies(ctx, `SELECT s.id FROM study s JOIN reindex_pack p USING (study_uid)`)
}

func (r *reindexing) settleStudies(ctx context.Context, studies string, args ...any) error {
	for _, sql := range []string{
		`WITH newest AS (
			SELECT i.study_row, i.sop_uid, max(i.version) AS version FROM instance i
			WHERE i.study_row IN (` + studies + `)
			GROUP BY i.study_row, i.sop_uid HAVING count(*) > 1)
		UPDATE instance i SET current = (i.version = n.version) FROM newest n
		WHERE i.study_row = n.study_row AND i.sop_uid = n.sop_uid AND i.current <> (i.version = n.version)`,
		`WITH counted AS (
			SELECT e.id, count(i.sop_uid) FILTER (WHERE i.current AND i.rejected IS NULL) AS instances FROM series e
			LEFT JOIN instance i ON i.study_row = e.study_row AND i.series_row = e.id
			WHERE e.study_row IN (` + studies + `) GROUP BY e.id)
		UPDATE series e SET instance_count = c.instances FROM counted c WHERE e.id = c.id AND e.instance_count <> c.instances`,
		`WITH counted AS (
			SELECT i.study_row, count(*) FILTER (WHERE i.current AND i.rejected IS NULL) AS instances, sum(i.length) AS bytes, max(i.received_at) AS last FROM instance i
			WHERE i.study_row IN (` + studies + `) GROUP BY i.study_row)
		UPDATE study s SET instance_count = c.instances, bytes = c.bytes` + r.completed() + `
		FROM counted c WHERE s.id = c.study_row`,
	} {
		if _, err := r.Index.Pool().Exec(ctx, sql, args...); err != nil {
			return failure(err)
		}
	}
	return nil
}

// completed: an index that is rebuilt is one of complete studies. Their tasks
// and reports were not in storage; making new tasks for all that was ever
// read would be worse than none.
func (r *reindexing) completed() string {
	if r.Add {
		return ""
	}
	return `, updated_at = c.last, completed_at = coalesce(s.completed_at, c.last), completions = greatest(s.completions, 1)`
}

// finish retires the packs that others contain or a policy has deleted, writes the report and removes
// our tables.
func (r *reindexing) finish(ctx context.Context) error {
	pool := r.Index.Pool()
	for _, o := range r.unswept {
		if err := r.Index.RetireObject(ctx, o.Key, o.Size); err != nil {
			return err
		}
	}
	_, err := pool.Exec(ctx, `
		INSERT INTO pack (key, bytes, meta_offset, meta_length, retired_at)
		SELECT key, size, 0, 0, clock_timestamp() FROM reindex_pack WHERE contained AND problems = '{}'
		ON CONFLICT (key) DO NOTHING`)
	if err != nil {
		return failure(err)
	}
	err = pool.QueryRow(ctx, `
		SELECT count(*), coalesce(sum(size), 0)::bigint, coalesce(sum(cardinality(sops)), 0)::bigint, count(*) FILTER (WHERE contained) FROM reindex_pack`).
		Scan(&r.report.Packs, &r.report.Bytes, &r.report.Instances, &r.report.Contained)
	if err != nil {
		return failure(err)
	}
	rows, err := pool.Query(ctx, `SELECT key, problems, cardinality(sops) FROM reindex_pack WHERE problems <> '{}' ORDER BY key`)
	if err != nil {
		return failure(err)
	}
	if r.report.Bad, err = pgx.CollectRows(rows, pgx.RowToStructByPos[BadPack]); err != nil {
		return failure(err)
	}
	_, err = pool.Exec(ctx, `DROP TABLE reindex_pack`)
	return failure(err)
}
