package workload

import (
	"math"
	"math/bits"
)

// plan holds the numbers of one head of one tensor. Element (position, column) of the head is the float32 sum
//
//	noise * bell(hash of position and column)
//	+ shared of the position * sign of the head's shared direction
//	+ code * (cos turn * sign of the position's code + sin turn * sign of the next code)
//	+ rope * rotated vector of the head at the position minus a distance
//
// whose parts are 0 where a kind has none of them. The kernel reads plans from memory: all fields are 4 bytes wide.
type plan struct {
	noiseKey, noiseSalt uint32
	noise               float32

	sharedKey uint32
	shared    float32 // at every position: queries
	sink      float32 // at positions below sinks: keys
	sinks     uint32
	column    float32 // at heavy keys
	columnKey uint32
	columnLog uint32 // one heavy key in each 2^columnLog

	codeKey     uint32
	code        float32
	codeLog     uint32 // positions of one code
	groupLog    uint32 // codes are shuffled within groups of 2^groupLog,
	shuffleMask uint32 // by an xor of these bits
	codeMask    uint32 // and only these bits of a code are kept, so that codes come back
	turnShift   uint32 // the turn within a code
	turnMask    uint32 // 0: none

	ropeKey      uint32
	rope         float32
	distanceKey  uint32
	distanceMask uint32 // count of distances minus 1
	distances    [longSlash]uint32
}

// Noise, as a standard deviation. With planted vectors of size 1 to 2 an element this is far from drowning them.
const (
	structuredNoise = 0.5
	diffuseNoise    = 0.25
)

// strength is a kind's factor of the logit: up to 5 percent of attention is left for what was not planted.
var strength = map[Kind]float64{AShape: 0.8, Slash: 0.8, Columns: 0.55, Blocks: 0.4}

// sinkLogit is the logit of the nearest key in a window of 64; a sink holds its own against wider windows.
func (s Spec) sinkLogit() float64 { return s.logit(AShape) + 0.5*float64(s.windowLog()-6) }

// logit is the planted score after scaling by 1/sqrt(HeadDim). All other keys together weigh about SeqLen times e to
// half the variance of their scores, so it grows with the logarithm of the length.
func (s Spec) logit(k Kind) float64 {
	sharp := s.Sharpness
	if sharp == 0 {
		sharp = 1
	}
	return float64(sharp * strength[k] * float64(10+0.75*float64(bits.Len(uint(s.SeqLen-1))))) // rounded, so that no caller's sum fuses with it
}

// amplitude is the size of each of n elements or rotated pairs, in q and in k, whose products give a scaled logit.
func (s Spec) amplitude(logit float64, n int) float32 {
	return float32(math.Sqrt(logit * math.Sqrt(float64(s.HeadDim)) / float64(n)))
}

// plan makes the numbers of a head. What q and k share is drawn from the keys of the kv head, in one fixed order.
func (s Spec) plan(t Tensor, batch, head int) *plan {
	kvHead := head
	if t == Q {
		kvHead = head / s.group()
	}
	noise := newKeys(s.Seed, uint64("qkv"[t]), uint64(batch)<<32|uint64(head))
	p := &plan{noiseKey: noise.next(), noiseSalt: noise.next(), noise: 1.0 / byteStd, codeLog: 31, columnLog: 31}
	if t == V {
		return p
	}
	k := newKeys(s.Seed, 'p', uint64(kvHead))
	for _, key := range []*uint32{&p.sharedKey, &p.columnKey, &p.codeKey, &p.ropeKey, &p.distanceKey} {
		*key = k.next()
	}
	s.plant(p, t, kvHead)
	return p
}

// plant fills in the kind's part.
func (s Spec) plant(p *plan, t Tensor, kvHead int) {
	kind := s.kindOf(kvHead)
	logit := s.logit(kind)
	p.noise = structuredNoise / byteStd
	switch kind {
	case AShape:
		p.point(t, s.amplitude(s.sinkLogit(), s.HeadDim), &p.sink)
		p.sinks = sinkKeys
		p.drift(s.amplitude(logit, s.HeadDim), s.windowLog())
	case Slash:
		p.rope = s.amplitude(logit, s.HeadDim/4) // of pairs of columns
		if t == Q {
			p.look(s.distances(kvHead))
		}
	case Columns:
		p.point(t, s.amplitude(logit, s.HeadDim), &p.column)
		p.columnLog = uint32(s.columnLog())
	case Blocks:
		p.topics(s.amplitude(logit, s.HeadDim), s.topicLog())
	case Diffuse:
		p.noise = diffuseNoise / byteStd
	default: // Random has no structure
		p.noise = 1.0 / byteStd
	}
}

// point gives queries the shared direction, and the marked keys.
func (p *plan) point(t Tensor, amplitude float32, marked *float32) {
	if t == Q {
		p.shared = amplitude
	} else {
		*marked = amplitude
	}
}

// drift turns from one random code to the next within 2^log positions.
func (p *plan) drift(amplitude float32, log int) {
	p.code, p.codeLog, p.codeMask = amplitude, uint32(log), math.MaxUint32
	p.turnShift, p.turnMask = uint32(30-log), quarter-1
}

// topics gives every block the code of a topic; each group of 2^log blocks has each topic once.
func (p *plan) topics(amplitude float32, log int) {
	p.code, p.codeLog = amplitude, uint32(log2(BlockSize))
	p.groupLog, p.shuffleMask, p.codeMask = uint32(log), 1<<log-1, 1<<log-1
}

// look makes each query look at one of the distances.
func (p *plan) look(distances []int) {
	p.distanceMask = uint32(len(distances) - 1)
	for i, d := range distances {
		p.distances[i] = uint32(d)
	}
}

// columnIn is the place of the heavy key among the 2^columnLog keys of a stratum.
func (p *plan) columnIn(stratum uint32) uint32 {
	return mix(stratum^p.columnKey) & (1<<p.columnLog - 1)
}

// sharedAt is the part of the shared direction at a position.
func (p *plan) sharedAt(pos uint32) float32 {
	x := p.shared
	if pos < p.sinks {
		x += p.sink
	}
	if pos == 0 || pos&(1<<p.columnLog-1) == p.columnIn(pos>>p.columnLog) {
		x += p.column
	}
	return x
}

// codeOf is the number of a position's code.
func (p *plan) codeOf(pos uint32) uint32 {
	n := pos >> p.codeLog
	return (n ^ mix(n>>p.groupLog^p.codeKey)&p.shuffleMask) & p.codeMask
}

// turnAt is how far the position has turned to the next code.
func (p *plan) turnAt(pos uint32) (next, here float32) {
	sin, cos := sincos(pos << p.turnShift & p.turnMask)
	return float32(sin * p.code), float32(cos * p.code)
}

// lookAt is the position whose rotation a row has: its own minus a distance. A distance beyond key 0 becomes 0.
func (p *plan) lookAt(pos uint32) uint32 {
	d := p.distances[mix(pos^p.distanceKey)&p.distanceMask]
	if d > pos {
		d = 0
	}
	return pos - d
}
