package progress

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// onTerminal is a reporter on a terminal whose clock goes on by half a second a look.
func onTerminal() (*Reporter, *bytes.Buffer) {
	var b bytes.Buffer
	now := time.Now()
	return &Reporter{w: &b, now: func() time.Time {
		now = now.Add(time.Second / 2)
		return now
	}}, &b
}

func TestNothingIsShownWithoutATerminal(t *testing.T) {
	var b bytes.Buffer
	r := New(&b)
	for i := range int64(10) {
		r.Step("work", i, 10)
	}
	r.Clear()
	r.Func("more")(1, 2)
	require.Empty(t, b.String())

	f, err := os.CreateTemp(t.TempDir(), "")
	require.NoError(t, err)
	require.Nil(t, New(f), "a file is no terminal")
	require.NoError(t, f.Close())
}

func TestBarsHavePatience(t *testing.T) {
	r, b := onTerminal()
	clock := r.now
	r.now = time.Now // the steps below take less time than patience lasts
	for i := range int64(5) {
		r.Step("short", i, 4)
		time.Sleep(throttle)
	}
	require.Empty(t, b.String())
	r.now = clock

	for i := range int64(4) {
		time.Sleep(throttle)
		r.Step("long", i, 4)
	}
	require.Contains(t, b.String(), "long")
	require.Contains(t, b.String(), "75%")
	require.Regexp(t, `\[\d+s:\d+s\]`, b.String(), "time gone and time left")
	r.Step("long", 2, 4) // late
	r.Step("long", 4, 4)
	require.Nil(t, r.bar)
	require.True(t, strings.HasSuffix(b.String(), "\r"), "the line is left empty: %q", b.String())
}

func TestWorkBeginsAnew(t *testing.T) {
	r, _ := onTerminal()
	r.Step("head", 3, 4)
	require.EqualValues(t, 3, r.done)
	r.Step("other", 1, 4)
	require.EqualValues(t, 1, r.done)
	r.Clear()
	require.Nil(t, r.bar)
	r.Clear()
}
