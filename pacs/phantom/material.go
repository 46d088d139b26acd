package phantom

// material is what a voxel is made of.
type material uint8

const (
	air material = iota
	skin
	fat
	muscle
	cortex    // cortical bone
	marrow    // diploë
	spongiosa // vertebrae, ribs, pelvis
	petrous
	cartilage
	disc     // the fibrous ring
	nucleus  // of a disc
	wornDisc // dry
	mucosa
	csf
	grey
	deepGrey
	white
	cerebellum
	dura
	vitreous
	lens
	calcium
	clot    // fresh haemorrhage
	oedema  // around a haemorrhage
	infarct // hours to days old
	plaque  // demyelination
	lung
	softLung // lung vessel and bronchial wall
	blood    // enhanced vessel or chamber
	vein
	myocardium
	liver
	spleen
	renalCortex
	renalMedulla
	bowel
	fluid
	stool
	pancreas
	cord
	nodule
	hypodense // a solid lesion that takes up little contrast
	couch
	foam
	materials // how many there are
)

// palette gives each material its value in one kind of picture.
type palette [materials]float32

// hounsfield holds CT numbers at 120 kV: the plain head, and soft tissue in
// the portal venous phase for the trunk.
var hounsfield = palette{
	air: -1000, skin: 20, fat: -95, muscle: 55, cortex: 1350, marrow: 420, spongiosa: 165, petrous: 1750, cartilage: 95,
	disc: 80, nucleus: 72, wornDisc: 88, mucosa: 35, csf: 5, grey: 37, deepGrey: 38, white: 25, cerebellum: 33, dura: 52,
	vitreous: 8, lens: 75, calcium: 320, clot: 68, oedema: 14, infarct: 12, plaque: 20,
	lung: -865, softLung: 20, blood: 190, vein: 160, myocardium: 105, liver: 112, spleen: 125,
	renalCortex: 195, renalMedulla: 130, bowel: 60, fluid: 12, stool: -40, pancreas: 95, cord: 40, nodule: 35, hypodense: 58,
	couch: -300, foam: -930,
}

// Signal of the brain sequences, in the scanner's arbitrary units. Bone and
// air give next to none; fat is bright on all three (fast spin echo).
var (
	signalT1 = palette{
		air: 4, skin: 420, fat: 1150, muscle: 430, cortex: 40, marrow: 620, spongiosa: 640, petrous: 30, cartilage: 350,
		disc: 330, nucleus: 370, wornDisc: 310, mucosa: 480, csf: 170, grey: 560, deepGrey: 610, white: 790, cerebellum: 600, dura: 260,
		vitreous: 150, lens: 420, calcium: 60, clot: 700, oedema: 430, infarct: 420, plaque: 500,
		lung: 20, softLung: 200, blood: 120, vein: 120, myocardium: 400, liver: 600, spleen: 420,
		renalCortex: 500, renalMedulla: 380, bowel: 380, fluid: 170, stool: 400, pancreas: 620, cord: 560, nodule: 400, hypodense: 420,
	}
	signalT2 = palette{
		air: 4, skin: 280, fat: 820, muscle: 210, cortex: 30, marrow: 420, spongiosa: 440, petrous: 25, cartilage: 200,
		disc: 320, nucleus: 980, wornDisc: 210, mucosa: 1100, csf: 1650, grey: 780, deepGrey: 700, white: 520, cerebellum: 700, dura: 160,
		vitreous: 1600, lens: 220, calcium: 40, clot: 350, oedema: 1150, infarct: 1180, plaque: 1150,
		lung: 20, softLung: 100, blood: 40, vein: 60, myocardium: 320, liver: 330, spleen: 620,
		renalCortex: 640, renalMedulla: 800, bowel: 500, fluid: 1600, stool: 300, pancreas: 420, cord: 520, nodule: 700, hypodense: 900,
	}
	signalFLAIR = palette{
		air: 4, skin: 250, fat: 700, muscle: 200, cortex: 30, marrow: 380, spongiosa: 400, petrous: 25, cartilage: 200,
		disc: 300, nucleus: 700, wornDisc: 210, mucosa: 760, csf: 90, grey: 620, deepGrey: 590, white: 460, cerebellum: 580, dura: 200,
		vitreous: 100, lens: 220, calcium: 40, clot: 480, oedema: 1010, infarct: 1080, plaque: 1100,
		lung: 20, softLung: 100, blood: 40, vein: 60, myocardium: 300, liver: 320, spleen: 500,
		renalCortex: 500, renalMedulla: 520, bowel: 420, fluid: 100, stool: 300, pancreas: 400, cord: 480, nodule: 620, hypodense: 700,
	}
)
