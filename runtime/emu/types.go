package emu

// regClass is a register file.
type regClass uint8

const (
	classNone regClass = iota
	classPred          // one bit a lane
	class16            // kept in the low half of a 32-bit slot
	class32
	class64
)

func (c regClass) String() string {
	return [...]string{"no register", "a predicate", "16 bits", "32 bits", "64 bits"}[c]
}

// ptxType is a fundamental PTX type: bytes and how the bits are read.
type ptxType struct {
	bytes  int
	class  regClass
	signed bool
	float  bool
}

// bits lists the types an operand may have. 8-bit values live in 16-bit registers or wider ones.
var ptxTypes = map[string]ptxType{
	"pred":   {0, classPred, false, false},
	"b8":     {1, class16, false, false},
	"u8":     {1, class16, false, false},
	"s8":     {1, class16, true, false},
	"b16":    {2, class16, false, false},
	"u16":    {2, class16, false, false},
	"s16":    {2, class16, true, false},
	"f16":    {2, class16, false, true},
	"bf16":   {2, class16, false, true},
	"b32":    {4, class32, false, false},
	"u32":    {4, class32, false, false},
	"s32":    {4, class32, true, false},
	"f32":    {4, class32, false, true},
	"f16x2":  {4, class32, false, false},
	"bf16x2": {4, class32, false, false},
	"b64":    {8, class64, false, false},
	"u64":    {8, class64, false, false},
	"s64":    {8, class64, true, false},
}
