package ir

// Unsupported is the error of a pattern that means something, but that no schedule or kernel has a way for.
type Unsupported struct {
	Reason Reason
	Chosen []Chosen // the sets that it is about, where data chose them
	Found  string   // what was found, and why that cannot be
	Help   string   // what to write instead
}

// Reason says which limit a pattern meets.
type Reason uint8

// The reasons.
const (
	ChosenSets Reason = iota // sets that data chose are combined in a way that no kernel has
	TooLarge                 // more bands, or bounds of one, than a kernel holds
)

func (e *Unsupported) Error() string { return e.Found + "; " + e.Help }
