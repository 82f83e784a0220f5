// Package search finds a head plan: it runs candidates on the inputs of a model's layers, measures what each does to every head, and spends
// a budget where it buys most.
//
// docs/search.md has the designs and their reasons.
package search
