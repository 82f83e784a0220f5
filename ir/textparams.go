package ir

import (
	"fmt"
	"strings"
)

// bindingWords are the words that declare a parameter in both text forms.
var bindingWords = []string{BindLaunch: "param", BindConst: "const"}

// printParams writes the declarations of parameters and the conditions on them, one a line.
func printParams(b *strings.Builder, params []Param, requires []Require) {
	for _, p := range params {
		word := fmt.Sprintf("binding(%d)", p.Binding)
		if int(p.Binding) < len(bindingWords) {
			word = bindingWords[p.Binding]
		}
		fmt.Fprintf(b, "  %s %s = %d min %d\n", word, p.Name, p.Default, p.Min)
	}
	for _, r := range requires {
		fmt.Fprintf(b, "  require %s >= %d %q\n", r.Value, r.Min, r.What)
	}
}

// printIndex writes the definitions of the index stage, one a line.
func printIndex(b *strings.Builder, defs []IndexDef) {
	for _, d := range defs {
		fmt.Fprintf(b, "  %s\n", d)
	}
}

// readParam reads the line of a parameter; found is false when it is another line.
func readParam(n *node) (p Param, found bool, err error) {
	for binding, word := range bindingWords {
		if n.words[0] != word {
			continue
		}
		c := n.cursor()
		c.next()
		p = Param{Binding: Binding(binding), Name: c.name()}
		c.expect("=")
		p.Default = c.signed()
		c.expect("min")
		p.Min = c.signed()
		return p, true, c.leaf(n)
	}
	return p, false, nil
}

func readRequire(n *node) (Require, error) {
	c := n.cursor()
	c.expect("require")
	r := Require{Value: c.poly()}
	c.expect(">=")
	r.Min = c.signed()
	r.What = c.quoted()
	return r, c.leaf(n)
}
