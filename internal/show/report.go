package show

import (
	"encoding/json"
	"fmt"
)

// Report is what is shown of a pattern.
type Report struct {
	Pattern string           `json:"pattern"`
	Params  map[string]int64 `json:"parameters"`
	SeqLen  int              `json:"seqlen"`  // tokens
	Causal  bool             `json:"causal"`  // no key after a query is kept
	Dynamic bool             `json:"dynamic"` // data decides what is kept
	Keeps   []Phrase         `json:"keeps"`
	Choices []Choice         `json:"choices,omitempty"`
	Skips   string           `json:"skips,omitempty"` // what a kernel may leave out
	Picture Picture          `json:"picture"`
	Density []Density        `json:"density"`

	Tiles  []Tiles   `json:"tiles"`               // of each target; only bands are known where data decides
	Head   *HeadWork `json:"head_work,omitempty"` // of the generated head
	Index  *Index    `json:"index,omitempty"`
	Times  []Time    `json:"times"`
	Advice []Advice  `json:"advice"`
	Tile   *Tile     `json:"tile,omitempty"` // the one that was asked for

	file  string // that the pattern is written in
	label string // the pattern and its parameters in their order
	grid  *grid
}

// Make says all about the pattern that a request names. Errors say what of the request is wrong, or where its source is.
func Make(r Request) (*Report, error) {
	s, err := load(r)
	if err != nil {
		return nil, err
	}
	out := &Report{Pattern: s.pattern.Name, Params: s.values, SeqLen: s.n, Causal: s.causal, Dynamic: s.dynamic(), Keeps: s.keeps(),
		Choices: s.choices(), Skips: s.skips(), Advice: []Advice{}, file: s.file.Name, label: s.label()}
	steps := []func(*subject) error{out.addPicture, out.addDensity, out.addTiles, out.addTimes, out.addAdvice}
	if r.Tile != nil {
		steps = append(steps, func(s *subject) error { return out.addTile(s, *r.Tile) })
	}
	for _, step := range steps {
		if err := step(s); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (r *Report) addPicture(s *subject) (err error) {
	if r.grid, err = s.draw(); err == nil {
		r.Picture = r.grid.picture(s)
	}
	return err
}

func (r *Report) addDensity(s *subject) (err error) {
	r.Density, err = s.densities()
	return err
}

func (r *Report) addTiles(s *subject) (err error) {
	if r.Tiles, err = s.tiles(); err != nil || !s.dynamic() {
		return err
	}
	work, err := s.headWork(r.grid.head, r.newest().schedule)
	r.Head = &work
	return err
}

// newest are the tiles of the newest target.
func (r *Report) newest() *Tiles { return &r.Tiles[len(r.Tiles)-1] }

func (r *Report) addTimes(s *subject) (err error) {
	r.Times, r.Index, err = s.times()
	return err
}

func (r *Report) addAdvice(s *subject) error {
	list, err := s.advise(*r.newest(), r.Times)
	r.Advice = append(r.Advice, list...)
	return err
}

func (r *Report) addTile(s *subject, at [2]int) (err error) {
	r.Tile, err = s.explain(at, r.newest().schedule.Tile, r.grid.head)
	return err
}

// label is the pattern with its parameters, in the order in which it declares them.
func (s *subject) label() string {
	text := s.pattern.Name
	for _, p := range s.pattern.Params {
		text += fmt.Sprintf(" %s=%d", p.Name, s.values[p.Name])
	}
	return text
}

// JSON is the report as JSON.
func (r *Report) JSON() ([]byte, error) {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("internal: show: %w", err)
	}
	return append(text, '\n'), nil
}
