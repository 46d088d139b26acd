package dimse_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/dimse"
	"github.com/tasvir-pacs/tasvir/pacs/ul"
)

// A provider that knows one device and counts bytes, and that device sending.
func Example() {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	srv := &dimse.Server{
		AETitle: "TASVIR",
		Admit: func(_ context.Context, caller dimse.Caller) (dimse.Admission, error) {
			if caller.Request.CallingAE != "CT01" {
				return dimse.Admission{}, &ul.RejectCallingAE
			}
			return dimse.Admission{Value: "Urgut hospital"}, nil
		},
		Store: dimse.StoreHandlerFunc(func(_ context.Context, req *dimse.StoreRequest) dimse.Status {
			n, err := io.Copy(io.Discard, req.Data)
			if err != nil {
				return dimse.Statusf(dimse.ProcessingFailure, "%v", err)
			}
			fmt.Printf("%s sent %s, %d bytes\n", req.Association.Value, dicom.SOPClassName(req.SOPClassUID), n)
			return dimse.Status{Code: dimse.Success}
		}),
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- srv.Serve(ctx, ln) }()

	kind := dimse.Kind{SOPClassUID: dicom.CTImageStorage, TransferSyntaxUID: dicom.ExplicitVRLittleEndian}
	client, err := dimse.Dial(ctx, ln.Addr().String(), dimse.Dialer{
		CallingAE: "CT01", CalledAE: "TASVIR",
		Contexts: dimse.GroupContexts([]dimse.Kind{kind})[0].Contexts,
	})
	if err != nil {
		panic(err)
	}
	status, err := client.Store(ctx, dimse.StoreItem{
		SOPClassUID: kind.SOPClassUID, TransferSyntaxUID: kind.TransferSyntaxUID, SOPInstanceUID: "1.2.3",
		Data: strings.NewReader("a data set, as it is in the file"),
	})
	fmt.Println(status, err)
	fmt.Println(client.Release(ctx))

	_, err = dimse.Dial(ctx, ln.Addr().String(), dimse.Dialer{CallingAE: "STRANGER", CalledAE: "TASVIR"})
	fmt.Println(strings.SplitN(err.Error(), "): ", 2)[1])

	cancel()
	fmt.Println(<-done)
	// Output:
	// Urgut hospital sent CT Image Storage, 32 bytes
	// 0000H success <nil>
	// <nil>
	// association rejected permanently: calling AE title not recognized (1/1/3)
	// <nil>
}
