package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/riverqueue/river"

	"github.com/tasvir-pacs/tasvir/dicomweb"
	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/access"
	"github.com/tasvir-pacs/tasvir/pacs/associations"
	"github.com/tasvir-pacs/tasvir/pacs/availability"
	"github.com/tasvir-pacs/tasvir/pacs/commitment"
	"github.com/tasvir-pacs/tasvir/pacs/dimse"
	"github.com/tasvir-pacs/tasvir/pacs/forward"
	"github.com/tasvir-pacs/tasvir/pacs/index"
	"github.com/tasvir-pacs/tasvir/pacs/index/cluster"
	"github.com/tasvir-pacs/tasvir/pacs/journal"
	"github.com/tasvir-pacs/tasvir/pacs/patients"
	"github.com/tasvir-pacs/tasvir/pacs/patrol"
	"github.com/tasvir-pacs/tasvir/pacs/previews"
	"github.com/tasvir-pacs/tasvir/pacs/publish"
	"github.com/tasvir-pacs/tasvir/pacs/queryretrieve"
	"github.com/tasvir-pacs/tasvir/pacs/retention"
	"github.com/tasvir-pacs/tasvir/pacs/web"
	archiveapi "github.com/tasvir-pacs/tasvir/pacs/web/archive"
	"github.com/tasvir-pacs/tasvir/storage"
	"github.com/tasvir-pacs/tasvir/storage/file"
	"github.com/tasvir-pacs/tasvir/storage/s3"
	"github.com/tasvir-pacs/tasvir/viewer"
	"github.com/tasvir-pacs/tasvir/worklist"
	"github.com/tasvir-pacs/tasvir/worklist/api"
	"github.com/tasvir-pacs/tasvir/worklist/delivery"
	"github.com/tasvir-pacs/tasvir/worklist/fhir"
	"github.com/tasvir-pacs/tasvir/worklist/modality"
	"github.com/tasvir-pacs/tasvir/worklist/orders"
	"github.com/tasvir-pacs/tasvir/worklist/report"
	"github.com/tasvir-pacs/tasvir/worklist/ups"
)

// Node is a running archive.
type Node struct {
	flags   ServerFlags
	log     *slog.Logger
	started time.Time

	Access   *access.Access
	Worklist *worklist.Worklist
	Index    *index.Index
	Journal  *journal.Journal
	known    *access.Admission

	HTTPAddr, DICOMAddr net.Addr
	DICOMTLSAddr        net.Addr // nil without
	OHIFAddr            net.Addr // nil without
	security            dicomSecurity
	// GeneratedPassword is the first administrator's, when this start made it.
	GeneratedPassword string

	store     storage.Store
	ward      *ward
	reports   *report.Reports
	orders    *orders.Orders
	steps     *modality.Steps
	retention *retention.Retention
	talk      *associations.Log
	patients  *patients.Patients
	patrol    *patrol.Patrol
	pixels    pixels

	commitments *commitment.Commitments
	previews    *previews.Previews
	notices     *availability.Notices
	places      queryretrieve.Places // associations that are open to destinations
	forwarding  *forward.Forwarding
	procedures  *ups.Steps

	closers []func(context.Context) // run in reverse order
	failed  chan error              // the first part that ends by itself
	doors   group                   // take images and requests; end first
	work    group                   // publishes what they took
}

// group is parts of a node that run and end together.
type group struct {
	ctx     context.Context
	stop    context.CancelFunc
	running sync.WaitGroup
}

func (g *group) open(ctx context.Context) {
	g.ctx, g.stop = context.WithCancel(context.WithoutCancel(ctx))
}

func (g *group) end() {
	g.stop()
	g.running.Wait()
}

// Start brings a node up in the order in which its parts need one another:
// database and storage, then what works on them, then the doors. When it
// returns nil the node takes images and answers the client.
func Start(ctx context.Context, flags ServerFlags, log *slog.Logger) (_ *Node, err error) {
	n := &Node{flags: flags, log: log, started: time.Now(), failed: make(chan error, 4)}
	n.doors.open(ctx)
	n.work.open(ctx)
	defer func() {
		if err != nil {
			n.Close()
		}
	}()
	if err := flags.check(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(flags.dir(), 0o755); err != nil {
		return nil, pacs.Wrap(pacs.Invalid, err, "The data folder can't be made; choose another with --data")
	}
	if err := n.openDatabase(ctx); err != nil {
		return nil, err
	}
	if n.store, err = openStore(ctx, flags); err != nil {
		return nil, err
	}
	if n.Access, err = access.Open(ctx, n.Index, access.Settings{}); err != nil {
		return nil, err
	}
	if n.GeneratedPassword, err = n.Access.EnsureAdministrator(ctx, flags.AdminPassword); err != nil {
		return nil, err
	}
	if n.Worklist, err = worklist.New(ctx, n.Index); err != nil {
		return nil, err
	}
	n.reports = report.New(n.Worklist)
	if err := n.openOrders(ctx); err != nil {
		return nil, err
	}
	if err := n.openProcedures(ctx); err != nil {
		return nil, err
	}
	if err := n.startPatients(ctx); err != nil {
		return nil, err
	}

	n.Journal, err = journal.Open(journal.Options{
		Dir: filepath.Join(flags.dir(), "journal"), AckPublished: flags.Ack == "published", Quota: flags.JournalQuota << 30,
		Log: log.With("part", "journal"),
	})
	if err != nil {
		return nil, err
	}
	n.onClose(func(context.Context) {
		if err := n.Journal.Close(); err != nil {
			log.Error("closing the journal", "error", err)
		}
	})
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m := newMetrics(registry, n.Journal)
	if n.ward, err = openWard(ctx, n.Index, n.store, n.Journal, flags.QuarantineFlags, log); err != nil {
		return nil, err
	}
	n.ward.register(registry)
	n.spawn(&n.work, "the quarantine", n.ward.Run)

	if n.security, err = n.openDICOMSecurity(registry, log.With("part", "dicom")); err != nil {
		return nil, err
	}
	if err := n.openAssociations(ctx, registry); err != nil {
		return nil, err
	}
	if err := n.startJobs(ctx, m, registry); err != nil {
		return nil, err
	}
	if err := n.startDICOM(ctx, m); err != nil {
		return nil, err
	}
	n.spawn(&n.doors, "the unified procedure steps", n.procedures.Run)
	return n, n.startWeb(registry)
}

func (n *Node) onClose(f func(context.Context)) { n.closers = append(n.closers, f) }

// spawn runs a part until its group ends; a part that ends by itself ends the
// node.
func (n *Node) spawn(g *group, name string, f func(context.Context) error) {
	g.running.Go(func() {
		err := f(g.ctx)
		if g.ctx.Err() == nil {
			n.failed <- fmt.Errorf("%s ended: %w", name, err)
		}
	})
}

func (n *Node) openDatabase(ctx context.Context) error {
	url := n.flags.Database
	if url == "" {
		private := &privateDatabase{options: cluster.Options{Dir: n.flags.clusterDir(), Log: n.log.With("part", "postgres")}}
		if err := private.start(ctx); err != nil {
			return err
		}
		n.onClose(private.stop)
		n.spawn(&n.work, "PostgreSQL", private.watch)
		url = private.cluster.URL(cluster.Database)
	}
	ix, err := index.Open(ctx, url)
	if err != nil {
		return err
	}
	n.onClose(func(context.Context) { ix.Close() })
	n.Index = ix
	return nil
}

func openStore(ctx context.Context, flags ServerFlags) (storage.Store, error) {
	hot := flags.Store
	if hot == "" {
		hot = filepath.Join(flags.dir(), "store")
	}
	store, err := openObjects(ctx, hot)
	if err != nil {
		return nil, err
	}
	return flags.withCold(ctx, store)
}

// openObjects opens one object store: a bucket or a folder.
func openObjects(ctx context.Context, address string) (storage.Store, error) {
	if strings.HasPrefix(address, "s3://") {
		config, err := s3.ParseURL(address, os.Getenv)
		if err != nil {
			return nil, err
		}
		return s3.Open(ctx, config)
	}
	return file.Open(strings.TrimPrefix(address, "file://"))
}

// startJobs starts what works in the background: publisher, completion,
// delivery.
func (n *Node) startJobs(ctx context.Context, m *metrics, registry prometheus.Registerer) error {
	workers := river.NewWorkers()
	var jobs *river.Client[pgx.Tx]
	if err := n.openCommitments(ctx, func() *river.Client[pgx.Tx] { return jobs }, workers, registry); err != nil {
		return err
	}
	if err := n.openNotices(ctx, func() *river.Client[pgx.Tx] { return jobs }, workers, registry); err != nil {
		return err
	}
	river.AddWorker(workers, &publish.CompletionWorker{Index: n.Index, Quiet: n.flags.Quiet, Completed: n.completed})
	if err := n.addPackWorkers(workers, m.packs); err != nil {
		return err
	}
	if err := n.openPreviews(ctx, workers, registry); err != nil {
		return err
	}
	if n.flags.FHIR != "" {
		client := &fhir.Client{
			BaseURL: strings.TrimSuffix(n.flags.FHIR, "/"),
			Token:   n.flags.FHIRToken,
			Builder: fhir.Builder{Namespace: n.flags.FHIRNamespace, WADORoot: n.flags.WADORoot},
		}
		if n.flags.FHIRClient != "" {
			client.Credentials = &fhir.Credentials{TokenURL: n.flags.FHIRTokenURL, ID: n.flags.FHIRClient, Secret: n.flags.FHIRSecret}
		}
		river.AddWorker(workers, &delivery.Worker{
			Reports: n.reports, Composer: &delivery.Composer{Index: n.Index, Requests: n.Worklist.Requests}, Sender: client, Observe: m.delivery, Log: n.log.With("part", "delivery"),
		})
	}
	n.addModalityWorker(workers)
	if err := n.openRetention(ctx, workers, m); err != nil {
		return err
	}
	if err := n.openForwarding(ctx, func() *river.Client[pgx.Tx] { return jobs }, workers, registry); err != nil {
		return err
	}
	var err error
	if jobs, err = newJobs(ctx, n.Index.Pool(), workers, n.log.With("part", "jobs")); err != nil {
		return err
	}
	n.steps.Ended = func(ctx context.Context, tx pgx.Tx, study string) error {
		return modality.Enqueue(ctx, jobs, tx, study)
	}
	if err := n.startPatrol(ctx, jobs, m.patrol); err != nil {
		return err
	}
	if n.flags.FHIR != "" {
		n.reports.Deliver = func(ctx context.Context, tx pgx.Tx, id string, version int) error {
			return delivery.Enqueue(ctx, jobs, tx, id, version)
		}
	}
	if err := schedulePackWork(jobs); err != nil {
		return err
	}
	if err := schedulePreviews(jobs); err != nil {
		return err
	}
	n.scheduleRetention(jobs)
	if n.flags.Database == "" {
		if err := resumeJobs(ctx, n.Index.Pool()); err != nil {
			return err
		}
	}
	if err := jobs.Start(n.work.ctx); err != nil {
		return pacs.Wrap(pacs.Unavailable, err, "The job queue does not start")
	}
	n.onClose(func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		if err := jobs.StopAndCancel(ctx); err != nil && !errors.Is(err, context.Canceled) {
			n.log.Warn("stopping the job queue", "error", err)
		}
	})
	publisher := n.ward.publisher(publish.Options{
		Journal: n.Journal, Index: n.Index, Store: n.store, Log: n.log.With("part", "publisher"), Observer: m.publisher(),
		InTransaction: n.forwardToo(jobs, n.stepsToo(followUp(jobs, n.flags.Quiet))),
	})
	n.spawn(&n.work, "the publisher", publisher.Run)
	kept := &facilityList{n.Index, n.store}
	n.spawn(&n.work, "the list of facilities", func(ctx context.Context) error { return kept.run(ctx, n.log) })
	return nil
}

// startDICOM opens the DICOM port.
func (n *Node) startDICOM(ctx context.Context, m *metrics) error {
	var err error
	if n.known, err = access.OpenAdmission(filepath.Join(n.flags.dir(), "journal", "devices.json")); err != nil {
		return err
	}
	log := n.log.With("part", "dicom")
	if err := n.known.Refresh(ctx, n.Access); err != nil {
		log.Warn("the list of known devices could not be refreshed", "error", err)
	}
	n.spawn(&n.doors, "the list of devices", func(ctx context.Context) error {
		n.known.Run(ctx, n.Access, 2*time.Second, log)
		return nil
	})
	listener, err := net.Listen("tcp", n.flags.DICOM)
	if err != nil {
		return pacs.Wrap(pacs.Unavailable, err, "The DICOM port can't be opened; choose another with --dicom")
	}
	n.DICOMAddr = listener.Addr()
	admitted := &admission{known: n.known, park: n.flags.UnknownAE == "park", log: log, users: identities{n.Access, n.flags.DICOMUserIdentity}}
	server := n.dicomServer(log)
	server.Admit, server.Logger, server.Observer = admitted.admit, log, m.dimse().And(n.talk.Observer())
	n.spawn(&n.doors, "the DICOM server", func(ctx context.Context) error { return server.Serve(ctx, listener) })
	return n.startDICOMTLS(server)
}

// dicomServer is what the DICOM port offers; who may use it and who is told is
// added by startDICOM.
func (n *Node) dicomServer(log *slog.Logger) *dimse.Server {
	return &dimse.Server{
		AETitle: n.flags.AET, Store: storeHandler(n.Journal, log), MaxAssociations: n.flags.MaxAssociations,
		SOPClasses: dimse.SOPClasses{AcceptUnknown: n.flags.AcceptUnknownSOPClasses},
		Services:   append(append(n.queryRetrieve().Services(), n.modalityServices()...), n.commitments.Service(), n.procedures.Service()),
	}
}

// startWeb opens the web port.
func (n *Node) startWeb(registry *prometheus.Registry) error {
	proxies, err := prefixes(n.flags.TrustedProxies)
	if err != nil {
		return err
	}
	cors, err := web.NewCORS(n.flags.CORSOrigins, n.flags.CORSAPI)
	if err != nil {
		return err
	}
	second, others, err := n.openViewers()
	if err != nil {
		return err
	}
	server, err := web.New(web.Options{
		CORS: cors, Viewers: others.Names(), Limit: n.flags.rateLimit(), HSTS: n.flags.HSTS,
		Access: n.Access, Pool: n.Index.Pool(), Logger: n.log.With("part", "web"), Registry: registry, Version: version,
		TrustedLoopback: n.flags.TrustedLoopback, TrustedProxies: proxies,
		Status:       n.status,
		Groups:       n.groups,
		Connectivity: n.connectivity(),
	})
	if err != nil {
		return err
	}
	server.Ready("database", n.Index.Ping)
	server.Ready("journal", func(context.Context) error { return n.Journal.Ready() })
	server.Ready("storage", func(ctx context.Context) error {
		for _, err := range n.store.List(ctx, "packs/") {
			return err
		}
		return nil
	})
	(&api.API{Index: n.Index, Worklist: n.Worklist, Reports: n.reports, Orders: n.orders, Platform: n.flags.FHIR}).Register(server.API())
	(&archiveapi.API{
		Index: n.Index, Files: &publish.Packs{Index: n.Index, Store: n.store}, Closing: n.doors.ctx.Done(),
		Quarantine: n.ward.Quarantine,
		Patrol:     n.patrol,
		Patients:   n.patients,
		Retention:  n.retention,
		Forwarding: n.forwarding,

		Associations: n.talk,
		Commitments:  n.commitments,
	}).Register(server.API())
	others.Origin = server.Origin
	others.Register(server.API())
	dicomweb.Register(server.DICOMweb(), dicomweb.Options{
		Rejections: n.Index, Rejecting: n.rejecting, TempDir: n.flags.dir(),
		Index: n.Index, Packs: &publish.Packs{Index: n.Index, Store: n.store}, Receiver: n.Journal,
		Codecs:         n.codecs(),
		Cache:          n.frameCache(registry),
		Remote:         n.remote,
		Thumbnails:     n.previews,
		Workitems:      n.workitems(),
		Problem:        web.Problem,
		TrustForwarded: len(proxies) > 0,
		Identity: func(c *gin.Context) (pacs.Scope, string, string, string, bool) {
			who := web.Identity(c)
			if who == nil {
				return pacs.Scope{}, "", "", "", false
			}
			facility := who.FacilityCode
			if facility == "" && who.Scope.All {
				facility = pacs.Unassigned
			}
			return who.Scope, who.Who(), facility, "", true
		},
	})
	if viewer.Built() {
		if err := server.Static(viewer.Files()); err != nil {
			return err
		}
	} else {
		n.log.Warn("this binary was built without the web client; make build makes one with it")
	}
	listener, err := net.Listen("tcp", n.flags.HTTP)
	if err != nil {
		return pacs.Wrap(pacs.Unavailable, err, "The web port can't be opened; choose another with --http")
	}
	n.HTTPAddr = listener.Addr()
	return n.serveWeb(server, listener, second, registry)
}

func prefixes(texts []string) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, text := range texts {
		if addr, err := netip.ParseAddr(text); err == nil {
			out = append(out, netip.PrefixFrom(addr, addr.BitLen()))
			continue
		}
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, pacs.Wrap(pacs.Invalid, err, "A trusted proxy is an address or a network such as 10.0.0.0/8")
		}
		out = append(out, prefix)
	}
	return out, nil
}

func (n *Node) groups(ctx context.Context, userID int64) ([]web.Named, error) {
	groups, err := n.Worklist.GroupsOf(ctx, userID)
	out := make([]web.Named, len(groups))
	for i, g := range groups {
		out[i] = web.Named{ID: strconv.FormatInt(g.ID, 10), Name: g.Name}
	}
	return out, err
}

// status is what GET /api/admin/status shows.
func (n *Node) status(ctx context.Context) (any, error) {
	totals, err := n.Index.Totals(ctx, pacs.System("status"))
	if err != nil {
		return nil, err
	}
	deliveries, err := n.reports.DeliveryCounts(ctx, pacs.System("status"))
	if err != nil {
		return nil, err
	}
	waiting := n.Journal.Stats()
	oldest := 0.0
	if !waiting.Oldest.IsZero() {
		oldest = time.Since(waiting.Oldest).Seconds()
	}
	database, kept := "private", "folder"
	if n.flags.Database != "" {
		database = "external"
	}
	if strings.HasPrefix(n.flags.Store, "s3://") {
		kept = "object store"
	}
	return gin.H{
		"version": version, "started_at": n.started,
		"studies": totals.Studies, "instances": totals.Instances, "bytes": totals.Bytes,
		"journal":  gin.H{"records": waiting.Records, "bytes": waiting.Bytes, "held": waiting.Held, "oldest_seconds": oldest},
		"database": database, "store": kept,
		"quarantine": n.ward.status(),
		"deliveries": gin.H{"queued": deliveries[report.Queued], "retrying": deliveries[report.Retrying], "failed": deliveries[report.Failed]},
	}, nil
}

// WebURL is where a browser on this machine finds the client.
func (n *Node) WebURL() string {
	if n.flags.TLSCert != "" {
		return "https://" + loopback(n.HTTPAddr)
	}
	return "http://" + loopback(n.HTTPAddr)
}

// loopback is an address a program on this machine can dial.
func loopback(addr net.Addr) string {
	host, port, err := net.SplitHostPort(addr.String())
	if ip := net.ParseIP(host); err == nil && (host == "" || ip != nil && ip.IsUnspecified()) {
		return net.JoinHostPort("localhost", port)
	}
	return addr.String()
}

// Wait serves until ctx ends or a part fails, and closes the node.
func (n *Node) Wait(ctx context.Context) error {
	var err error
	select {
	case <-ctx.Done():
		n.log.Info("stopping")
	case err = <-n.failed:
		n.log.Error("a part of the archive failed", "error", err)
	}
	n.Close()
	return err
}

// Close ends everything: first the doors, then the work, then the database.
func (n *Node) Close() {
	n.doors.end()
	n.work.end()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for i := len(n.closers) - 1; i >= 0; i-- {
		n.closers[i](ctx)
	}
	n.closers = nil
}
