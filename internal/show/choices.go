package show

import (
	"fmt"
	"strings"

	"github.com/minfc/minfc/ir"
)

// Choice is what the data chooses under one name.
type Choice struct {
	Name string `json:"name"`
	Text string `json:"text"` // what is chosen, by which rule, from what
}

// choices are in the order of the index stage.
func (s *subject) choices() []Choice {
	var out []Choice
	for _, d := range s.pattern.Index {
		if x, is := d.Value.(ir.Select); is {
			out = append(out, Choice{d.Name, s.choice(x)})
		}
	}
	return out
}

func (s *subject) definition(name string) ir.Index {
	for _, d := range s.pattern.Index {
		if d.Name == name {
			return d.Value
		}
	}
	return nil
}

// unit is what a choice counts.
func (s *subject) unit(x ir.Select) string {
	of, is := s.definition(x.Of).(ir.Sum)
	switch {
	case is && of.Over == ir.OverQueries:
		return "column"
	case is && of.Over == ir.OverDiagonals:
		return "distance"
	case is && of.Over == ir.OverRuns:
		return fmt.Sprintf("run of %d distances", s.value(of.Run))
	}
	return "key block"
}

// choice is a rule in words.
func (s *subject) choice(x ir.Select) string {
	unit, of := s.unit(x), s.indexPhrase(x.Of)
	many := plural(unit)
	var text string
	switch x.Rule {
	case ir.Top:
		text = fmt.Sprintf("the %s with the largest %s", s.things(x.N, unit), of)
	case ir.TopP:
		text = fmt.Sprintf("the %s with the largest %s, until they hold %.1f %%%s of it", many, of, float64(s.value(x.N))/10, s.origin(x.N))
	case ir.Above:
		text = fmt.Sprintf("the %s whose %s is above %.6g%s", many, of, float64(s.value(x.N))/1e6, s.origin(x.N))
	case ir.NearMax:
		text = fmt.Sprintf("the %s whose %s is at least %.1f %%%s of the largest", many, of, float64(s.value(x.N))/10, s.origin(x.N))
	}
	if unit == "key block" {
		text += ", for each block of 64 queries"
	}
	if text += s.forced(x, many); x.ByGroup {
		text += "; one choice for all query heads of a kv head, from the mean over them"
	}
	return text
}

// forced says what is a member of a choice whatever it is worth, and what limits it.
func (s *subject) forced(x ir.Select, many string) string {
	text := ""
	near, far := [2]string{"first", "first %d"}, [2]string{"last", "last %d"}
	switch {
	case strings.Contains(many, "distance"):
		near, far = [2]string{"nearest", "%d nearest"}, [2]string{"farthest", "%d farthest"}
	case many == "key blocks":
		far = [2]string{"nearest", "%d nearest"}
	}
	for _, end := range []struct {
		n     ir.Poly
		words [2]string // for one and for many
	}{{x.First, near}, {x.Last, far}} {
		switch v := s.value(end.n); {
		case v == 1:
			text += fmt.Sprintf("; always the %s%s", end.words[0], s.origin(end.n))
		case v > 1:
			text += fmt.Sprintf("; always the "+end.words[1]+"%s", v, s.origin(end.n))
		}
	}
	if x.Least != nil {
		text += fmt.Sprintf("; at least %s", s.number(x.Least))
	}
	if x.Most != nil {
		text += fmt.Sprintf("; at most %s", s.number(x.Most))
	}
	return text
}

// sumWords are what a sum goes over.
var sumWords = map[ir.Axis]string{ir.OverQueries: "over queries", ir.OverDiagonals: "along the diagonal", ir.OverRuns: "along the diagonals",
	ir.OverBlocks: "over the block"}

// indexPhrase is a value of the index stage in words.
func (s *subject) indexPhrase(name string) string {
	switch x := s.definition(name).(type) {
	case ir.Probe:
		if x.Last != nil {
			return fmt.Sprintf("logits of the last %s", s.things(*x.Last, "query"))
		}
		return fmt.Sprintf("logits of every %s query", s.ordinal(*x.Stride))
	case ir.Softmax:
		return "softmax of the " + s.indexPhrase(x.Of)
	case ir.Sum:
		return fmt.Sprintf("sum %s of the %s", sumWords[x.Over], s.indexPhrase(x.Of))
	case ir.Antidiagonals:
		return fmt.Sprintf("mean logit on the antidiagonals of squares of %d by %d", x.Step, x.Step)
	case ir.Pool:
		tensor, with := "queries", "mean"
		if x.Of == ir.TensorK {
			tensor = "keys"
		}
		if x.With == ir.ReduceMax {
			with = "maximum"
		}
		return fmt.Sprintf("%s of %d %s", with, x.Rows, tensor)
	case ir.BlockScores:
		return fmt.Sprintf("product of the %s with the %s", s.indexPhrase(x.Q), s.indexPhrase(x.K))
	}
	return name
}
