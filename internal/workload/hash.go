package workload

// step is 2^32 divided by the golden ratio: multiples of it are spread evenly.
const step = 0x9e3779b9

// mix scatters a 32-bit number: every input bit reaches every output bit. It is a bijection (xor-shift and odd multiply,
// constants of the "lowbias32" search by C. Wellons).
func mix(x uint32) uint32 {
	x ^= x >> 16
	x *= 0x7feb352d
	x ^= x >> 15
	x *= 0x846ca68b
	return x ^ x>>16
}

// hash is the second of two rounds: a number of one place (a row, a code) and an index within it.
func hash(place, index uint32) uint32 { return mix(place + index*step) }

// keys draws from a counter and the seed; streams with different tags never meet.
type keys struct{ state uint64 }

func newKeys(seed uint64, tag, head uint64) *keys {
	k := &keys{seed}
	for _, x := range []uint64{tag, head} {
		k.state = k.next64() ^ x
	}
	return k
}

// next64 is SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
func (k *keys) next64() uint64 {
	k.state += 0x9e3779b97f4a7c15
	z := k.state
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

func (k *keys) next() uint32 { return uint32(k.next64() >> 32) }

// The sum of the four bytes of a hash is nearly normal (Irwin-Hall), and exact. It is even around byteMean.
const (
	byteMean = 510
	byteStd  = 147.80167 // sqrt(4 (256^2 - 1) / 12)
)

// bell returns the sum of the bytes of x, from -byteMean to byteMean.
func bell(x uint32) int32 {
	pairs := x&0x00ff00ff + x>>8&0x00ff00ff
	return int32(pairs&0xffff+pairs>>16) - byteMean
}
