package ul

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// FuzzReadPDU: what is read can be written and read again, to the same.
func FuzzReadPDU(f *testing.F) {
	for _, s := range []string{
		echoRequest, echoAccept, everyItem, "03 00 00000004 00 01 01 07", "05 00 00000004 00000000",
		"06 00 00000004 00000000", "07 00 00000004 0000 02 06", "04 00 00000011 00000004 01 03 BEEF 00000005 01 00 000102",
		"04 00 FFFFFFFF", "01 00 00100001", "08 00 00000004 00000000",
	} {
		f.Add(unhex(f, s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		pdu, err := ReadPDU(bytes.NewReader(b), DefaultMaxPDU)
		if err != nil {
			var pe *ParseError
			if !errors.As(err, &pe) && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Fatalf("unexpected kind of error: %v", err)
			}
			return
		}
		again, err := ReadPDU(bytes.NewReader(pdu.Append(nil)), DefaultMaxPDU)
		if err != nil {
			t.Fatalf("%#v: encoded and read again: %v", pdu, err)
		}
		if diff := cmp.Diff(normal(pdu), normal(again)); diff != "" {
			t.Fatal(diff)
		}
	})
}

// normal replaces what encoding replaces.
func normal(p PDU) PDU {
	switch p := p.(type) {
	case *AssociateRequest:
		if p.ProtocolVersion == 0 {
			p.ProtocolVersion = 1
		}
		if p.ApplicationContext == "" {
			p.ApplicationContext = ApplicationContextName
		}
		p.User = normalUser(p.User)
	case *AssociateAccept:
		if p.ProtocolVersion == 0 {
			p.ProtocolVersion = 1
		}
		if p.ApplicationContext == "" {
			p.ApplicationContext = ApplicationContextName
		}
		p.User = normalUser(p.User)
	}
	return p
}

func normalUser(u UserInformation) UserInformation {
	u.ImplementationVersion = parseUID([]byte(u.ImplementationVersion[:min(16, len(u.ImplementationVersion))]))
	return u
}

// FuzzNegotiate: any request that parses can be answered, and the answer
// parses and pairs with it.
func FuzzNegotiate(f *testing.F) {
	f.Add(unhex(f, echoRequest))
	f.Add(unhex(f, everyItem))
	f.Fuzz(func(t *testing.T, b []byte) {
		pdu, err := ReadPDU(bytes.NewReader(b), 0)
		rq, ok := pdu.(*AssociateRequest)
		if err != nil || !ok {
			return
		}
		policy := AcceptorPolicy{Choose: func(_ string, ts []string) (string, Result) { return ts[0], Acceptance }}
		results, accepted := NegotiateAsAcceptor(rq, policy)
		answer := &AssociateAccept{
			CalledAE: rq.CalledAE, CallingAE: rq.CallingAE, Contexts: results,
			User: acceptUser(rq, policy, UserInformation{}),
		}
		pdu, err = ReadPDU(bytes.NewReader(answer.Append(nil)), 0)
		ac, ok := pdu.(*AssociateAccept)
		if err != nil || !ok {
			for _, c := range accepted {
				if c.TransferSyntax == "" {
					return // an empty transfer syntax is no policy's choice
				}
			}
			t.Fatalf("own answer: %v", err)
		}
		paired, err := NegotiateAsRequestor(rq, ac)
		if err != nil || len(paired) != len(accepted) {
			t.Fatalf("%d contexts accepted, %d paired: %v", len(accepted), len(paired), err)
		}
	})
}

// FuzzAssociation feeds an established association: it must come to an end, say
// how, and never hand out more data than came.
func FuzzAssociation(f *testing.F) {
	message := Data{{ContextID: 1, Command: true, Last: true, Fragment: []byte("D")}, {ContextID: 1, Last: true, Fragment: []byte("data")}}
	f.Add(message.Append(nil))
	f.Add(append(message.Append(nil), unhex(f, "05 00 00000004 00000000")...))
	f.Add(append(message[:1].Append(nil), unhex(f, "07 00 00000004 00000000")...))
	f.Add(unhex(f, "04 00 00000006 00000002 01 03"))
	f.Add(unhex(f, echoRequest))
	f.Fuzz(func(t *testing.T, b []byte) {
		a := fedAssociation(b)
		defer a.t.dropBuffer()
		var total int64
		for {
			id, command, err := a.ReadCommand()
			if err != nil {
				break
			}
			total += int64(len(command))
			if len(command) == 0 || command[0] != 'D' {
				continue
			}
			n, err := io.Copy(io.Discard, a.DataReader(id))
			total += n
			if err != nil && err != io.ErrUnexpectedEOF { // the documented value
				t.Fatalf("DataReader returned %v", err)
			}
		}
		if a.Err() == nil {
			t.Fatal("ended without saying how")
		}
		if total > int64(len(b)) {
			t.Fatalf("%d bytes of %d", total, len(b))
		}
	})
}
