// Package completion writes scripts that complete the words of a command line in a shell. The kept libraries for this bring modules
// whose licences are not permissive.
package completion

import (
	"fmt"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// Shells lists the shells that there are scripts for.
var Shells = []string{"bash", "zsh", "fish"}

// command is a command of the command line, or the program itself.
type command struct {
	path  string // its words, "" for the program
	words []word // what may come next: commands, patterns, flags
}

// word is a word that may come next; values are what may follow it, if it is a flag that lists them.
type word struct {
	text, help string
	values     []string
}

// Names are words that the grammar of a program does not list.
type Names struct {
	Patterns []string            // of the library
	Takers   []string            // commands that take patterns
	Values   map[string][]string // of flags, by the name of the flag
}

// Script completes the commands, flags and values of a program, and the names of patterns after the commands that take them.
func Script(shell string, app *kong.Application, names Names) (string, error) {
	list := commands(app.Node, "")
	for i, c := range list {
		for j, w := range c.words {
			if values := names.Values[strings.TrimPrefix(w.text, "--")]; w.values == nil && strings.HasPrefix(w.text, "--") {
				list[i].words[j].values = values
			}
		}
		if !slices.Contains(names.Takers, c.path) {
			continue
		}
		for _, name := range names.Patterns {
			list[i].words = append(list[i].words, word{text: name, help: "library pattern"})
		}
	}
	switch shell {
	case "bash":
		return bash(app.Name, list), nil
	case "zsh": // it reads completions of bash
		return "autoload -U +X compinit && compinit\nautoload -U +X bashcompinit && bashcompinit\n" + bash(app.Name, list), nil
	case "fish":
		return fish(app.Name, list), nil
	}
	return "", fmt.Errorf("no completion for %q, want one of %s", shell, strings.Join(Shells, ", "))
}

// commands lists a node and what is below it, longer paths first.
func commands(n *kong.Node, path string) (out []command) {
	c := command{path: path}
	for _, child := range n.Children {
		if !child.Hidden {
			c.words = append(c.words, word{text: child.Name, help: child.Help})
			out = append(out, commands(child, strings.TrimSpace(path+" "+child.Name))...)
		}
	}
	for _, p := range n.Positional {
		for _, v := range enum(p) {
			c.words = append(c.words, word{text: v})
		}
	}
	for _, f := range n.Flags {
		if !f.Hidden {
			c.words = append(c.words, word{"--" + f.Name, f.Help, enum(f.Value)})
		}
	}
	if path != "" { // the program has it among its flags
		c.words = append(c.words, word{text: "--help", help: "Show help."})
	}
	return append(out, c)
}

// enum lists the values that v allows, nil if they are not listed.
func enum(v *kong.Value) []string {
	if v.Enum == "" {
		return nil
	}
	return v.EnumSlice()
}

// bash completes by the longest path of commands that the line begins with.
func bash(name string, list []command) string {
	var b, follow strings.Builder
	fmt.Fprintf(&b, "_%s() {\n  local line=\"${COMP_WORDS[*]:1:COMP_CWORD-1} \" word=\"${COMP_WORDS[COMP_CWORD]}\" words\n  case \"$line\" in\n", name)
	for _, c := range list {
		start := quote(c.path + " ")
		if c.path == "" {
			start = ""
		}
		var words []string
		for _, w := range c.words {
			words = append(words, w.text)
			if len(w.values) > 0 {
				fmt.Fprintf(&follow, "    %s*%s) words=%s ;;\n", start, quote(w.text+" "), quote(strings.Join(w.values, " ")))
			}
		}
		fmt.Fprintf(&b, "    %s*) words=%s ;;\n", start, quote(strings.Join(words, " ")))
	}
	b.WriteString("  esac\n  case \"$line\" in\n" + follow.String() + "  esac\n")
	fmt.Fprintf(&b, "  COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n}\ncomplete -o default -F _%s %s\n", name, name)
	return b.String()
}

// fish has a line a word, which holds while the line begins with the path of its command.
func fish(name string, list []command) string {
	var b strings.Builder
	fmt.Fprintf(&b, "function __%s_path\n  set -l line (string join -- ' ' (commandline -opc)[2..-1])' '\n", name)
	for _, c := range list {
		if c.path != "" {
			fmt.Fprintf(&b, "  string match -q -- %s \"$line\"; and echo %s; and return\n", quote(c.path+" *"), quote(c.path))
		}
	}
	b.WriteString("  echo .\nend\n")
	for _, c := range list {
		at := c.path
		if at == "" {
			at = "."
		}
		for _, w := range c.words {
			what := "-a " + quote(w.text)
			if flag, is := strings.CutPrefix(w.text, "--"); is {
				what = "-l " + flag
			}
			if len(w.values) > 0 {
				what += " -xa " + quote(strings.Join(w.values, " "))
			}
			fmt.Fprintf(&b, "complete -c %s -n \"string match -q -- '%s' (__%s_path)\" %s -d %s\n", name, at, name, what, quote(first(w.help)))
		}
	}
	return b.String()
}

// first is the first sentence of a help text, which is all that fits beside a word.
func first(help string) string {
	if i := strings.Index(help, ". "); i >= 0 {
		help = help[:i]
	}
	return strings.TrimSuffix(help, ".")
}

// quote writes a word for a shell.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
