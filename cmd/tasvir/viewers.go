package main

import (
	"context"
	"net"
	"net/http"

	"github.com/tasvir-pacs/tasvir/pacs"
	"github.com/tasvir-pacs/tasvir/pacs/web"
	"github.com/tasvir-pacs/tasvir/pacs/web/viewers"
)

// ViewerFlags say in which viewers of others studies can be opened.
type ViewerFlags struct {
	OHIF       string `name:"ohif" env:"TASVIR_OHIF" placeholder:"ADDR" help:"Also offer OHIF as a second viewer, on this address of its own, for instance :8081."`
	OHIFDist   string `name:"ohif-dist" env:"TASVIR_OHIF_DIST" placeholder:"DIR" help:"The folder with OHIF's web application; deploy/ohif.sh fetches it and prints where it is."`
	OHIFOrigin string `name:"ohif-origin" env:"TASVIR_OHIF_ORIGIN" placeholder:"ORIGIN" help:"How browsers reach the address of --ohif, behind a proxy, for instance https://ohif.example.uz. Default: this server's name, with the port of --ohif."`
	Weasis     bool   `name:"weasis" env:"TASVIR_WEASIS" help:"Also offer to open studies in Weasis, where it is installed on the reader's computer. Weasis reads with a token for the study's facility that ends after 8 hours, or with the reader's session."`
}

func (f ViewerFlags) check() error {
	if (f.OHIF == "") != (f.OHIFDist == "") {
		return pacs.Errorf(pacs.Invalid, "--ohif and --ohif-dist go together; deploy/ohif.sh fetches OHIF and prints the folder for --ohif-dist")
	}
	if f.OHIFOrigin == "" {
		return nil
	}
	if f.OHIF == "" {
		return pacs.Errorf(pacs.Invalid, "--ohif-origin is how browsers reach the address of --ohif, which is missing")
	}
	if err := viewers.CheckOrigin(f.OHIFOrigin); err != nil {
		return pacs.Wrap(pacs.Invalid, err, "--ohif-origin can't be used")
	}
	return nil
}

// secondViewer is OHIF's host; nil without.
type secondViewer struct {
	dist     *viewers.Dist
	listener net.Listener
}

// openViewers opens OHIF's port and files, so that what is wrong with them is
// told at once.
func (n *Node) openViewers() (*secondViewer, *viewers.API, error) {
	api := &viewers.API{Access: n.Access, Studies: n.Index, Weasis: n.flags.Weasis, DICOMweb: n.flags.WADORoot}
	if n.flags.OHIF == "" {
		return nil, api, nil
	}
	second := &secondViewer{}
	var err error
	if second.dist, err = viewers.OpenDist(n.flags.OHIFDist); err != nil {
		return nil, nil, err
	}
	n.onClose(func(context.Context) { _ = second.dist.Close() })
	if second.listener, err = net.Listen("tcp", n.flags.OHIF); err != nil {
		return nil, nil, pacs.Wrap(pacs.Unavailable, err, "The port of OHIF can't be opened; choose another with --ohif")
	}
	n.onClose(func(context.Context) { _ = second.listener.Close() }) // when the start fails
	n.OHIFAddr = second.listener.Addr()
	port := n.OHIFAddr.(*net.TCPAddr).Port
	api.OHIF = viewers.OriginOf(n.flags.OHIFOrigin, port, func(r *http.Request) string { return api.Origin(r) })
	return second, api, nil
}

// serveSecondViewer runs OHIF's port, with the certificate of the web port.
func (n *Node) serveSecondViewer(second *secondViewer, server *web.Server, certificate web.Certificate) {
	if second == nil {
		return
	}
	host := &viewers.Host{
		Access: n.Access, Dist: second.dist, DICOMweb: server.ServeDICOMweb, Remote: server.Remote,
		Secure: server.Secure,
		Log:    n.log.With("part", "ohif"),
	}
	n.spawn(&n.doors, "the web server of OHIF", func(ctx context.Context) error {
		return server.ServeOther(ctx, second.listener, host, certificate)
	})
}
