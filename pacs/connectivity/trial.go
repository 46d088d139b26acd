package connectivity

import (
	"slices"

	"github.com/tasvir-pacs/tasvir/pacs/dicom"
	"github.com/tasvir-pacs/tasvir/pacs/dimse"
	"github.com/tasvir-pacs/tasvir/pacs/ul"
)

// syntaxClass is the class whose transfer syntaxes are tried one by one: what
// takes images at all takes secondary captures, and in whatever it can decode.
const syntaxClass = dicom.SecondaryCaptureStorage

// trialContexts proposes, in the 128 contexts that an association has:
// verification; the syntaxClass in each transfer syntax in use; the other
// current storage classes, uncompressed, as many as fit.
func trialContexts() []ul.ProposedContext {
	contexts := []ul.ProposedContext{dimse.VerificationContext(1)}
	add := func(class string, syntaxes ...string) {
		if len(contexts) < dimse.MaxContexts {
			contexts = append(contexts, ul.ProposedContext{ID: byte(2*len(contexts) + 1), AbstractSyntax: class, TransferSyntaxes: syntaxes})
		}
	}
	for _, ts := range inUse {
		add(syntaxClass, ts)
	}
	uncompressed := []string{dicom.ExplicitVRLittleEndian, dicom.ImplicitVRLittleEndian}
	first := []string{
		dicom.CTImageStorage, dicom.MRImageStorage, dicom.ComputedRadiographyStorage, syntaxClass, dicom.EnhancedCTImageStorage, dicom.EnhancedMRImageStorage,
	}
	for _, class := range first {
		add(class, uncompressed...)
	}
	for _, class := range dicom.StorageSOPClasses {
		if !class.Retired && !slices.Contains(first, class.UID) {
			add(class.UID, uncompressed...)
		}
	}
	return contexts
}

// inUse are the transfer syntaxes of still images that are met.
var inUse = []string{
	dicom.ImplicitVRLittleEndian, dicom.ExplicitVRLittleEndian, dicom.DeflatedExplicitVRLittleEndian, dicom.ExplicitVRBigEndian,
	dicom.JPEGBaseline8Bit, dicom.JPEGExtended12Bit, dicom.JPEGLossless, dicom.JPEGLosslessSV1, dicom.JPEGLSLossless, dicom.JPEGLSNearLossless,
	dicom.JPEG2000Lossless, dicom.JPEG2000, dicom.HTJ2KLossless, dicom.HTJ2KLosslessRPCL, dicom.HTJ2K, dicom.RLELossless,
	dicom.JPEGXLLossless, dicom.JPEGXL,
}
