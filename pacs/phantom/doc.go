// Package phantom makes synthetic studies: computed tomography of head, chest
// and abdomen, magnetic resonance of brain and lumbar spine, and radiographs
// of the chest. They look like what they are called, so that a demonstration
// shows a reading room and not test patterns, and they belong to nobody.
//
// A [Study] is a recipe; Instances generates it, slice by slice, on all
// processors and without holding more than a few slices:
//
//	for instance, err := range study.Instances() {
//		...
//		instance.WriteTo(file)   // as a DICOM file
//		instance.Dataset()       // or as C-STORE sends it
//	}
//
// The same recipe gives the same bytes and the same UIDs, today and next year;
// any difference in what is written gives other UIDs. [DemoStudies] is the set
// that `tasvir demo` sends, [Small] makes quick studies for tests, and Slices,
// Matrix and Series ask for other sizes (250 CT slices of 512×512 pixels:
// &Study{Kind: HeadCT, Slices: 250}). A prior is a second recipe with the same
// Seed and an earlier Date: the same person, lying a little differently, in
// another frame of reference.
//
// # How a picture comes about
//
//   - shape.go has the solids: ellipsoids, tubes, and smooth unions of depths,
//     in patient coordinates and millimetres. Being implicit, they can be cut
//     by any plane: axial, sagittal and coronal series show one anatomy.
//   - canvas.go paints solids into a slice. What is painted are materials
//     (material.go); a palette turns them into Hounsfield units or into the
//     signal of an MR sequence. A gentle bending (noise.go) of all coordinates
//     takes the symmetry away.
//   - head.go is a head; torso.go, belly.go and trunk.go are a trunk;
//     finding.go adds what there is to find.
//   - acquire.go is the scanner: noise, coil, projection, stored values.
//   - plan.go places the slices, attribute.go describes them, element.go
//     writes them. The writer is the package's own, so that the archive's
//     reader is tested against something else than itself, in character sets
//     that the archive reads but never writes.
//
// Pixels are computed in float32 without functions that differ between
// processors. Where the compiler fuses multiplication and addition (arm64, or
// GOAMD64=v3) a pixel may differ by one from other machines; UIDs never do,
// so don't compare studies generated on different architectures by hash.
package phantom
