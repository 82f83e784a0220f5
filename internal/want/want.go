// Package want words the checks of one value each: what was found, and what is wanted.
package want

import "fmt"

// Check is one fact about a value.
type Check struct {
	OK              bool
	Name, Got, Want string
}

// That is a fact about the value of a name: what it is, and what is wanted if the fact does not hold.
func That(ok bool, name, got, want string) Check { return Check{ok, name, got, want} }

// Err is nil for a fact that holds: "threads is 7, want a multiple of 32".
func (c Check) Err() error {
	if c.OK {
		return nil
	}
	return fmt.Errorf("%s is %s, want %s", c.Name, c.Got, c.Want)
}

// All returns the error of the first check that fails.
func All(checks ...Check) error {
	for _, c := range checks {
		if err := c.Err(); err != nil {
			return err
		}
	}
	return nil
}

// Multiple says whether x is a multiple of a number, from low to high.
func Multiple(x, of, low, high int) bool { return x >= low && x <= high && x%of == 0 }
