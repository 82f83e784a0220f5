package ptxgen

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// inFlightKernel keeps an accumulator in flight around a loop. between stands behind the wgmma, before the wait.
func inFlightKernel(between, wait, stored string) string {
	return `
define void @k(float addrspace(1)* %p, i64 %d, i32 %n) {
entry:
  br label %loop
loop:
  %i = phi i32 [ 0, %entry ], [ %i2, %next ]
  %acc = phi float [ 0.0, %entry ], [ %acc2, %next ]
  %acc2 = call float asm sideeffect "wgmma.fence.sync.aligned; wgmma.mma_async.sync.aligned.text {$0}, $2; wgmma.commit_group.sync.aligned;", "=f,0,l"(float %acc, i64 %d) convergent
  br label %next
next:
` + between + `
  call void asm sideeffect "wgmma.wait_group.sync.aligned ` + wait + `;", "~{memory}"() convergent
  store volatile float ` + stored + `, float addrspace(1)* %p
  %i2 = add i32 %i, 1
  %c = icmp slt i32 %i2, %n
  br i1 %c, label %loop, label %exit
exit:
  ret void
}
!nvvm.annotations = !{!0}
!0 = !{void (float addrspace(1)*, i64, i32)* @k, !"kernel", i32 1}
`
}

func TestCopyInFlight(t *testing.T) {
	const tied = `  %t = call float asm sideeffect "mov.f32 $0, $0;", "=f,0"(float %acc2)`
	cases := map[string]struct{ between, wait, stored, err string }{
		"in place":               {"", "0", "%acc2", ""},
		"copied before the wait": {tied, "0", "%t", "a copy touches an accumulator"},
		// %acc is needed behind the wgmma: the copy into the tied register comes before it is issued ...
		"old value kept": {"", "0", "%acc", ""},
		// ... unless the group of the turn before is still in flight.
		"old value kept, no wait": {"", "1", "%acc", "a copy touches an accumulator"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := Compile(parse(t, inFlightKernel(c.between, c.wait, c.stored)), Options{Target: "sm_90a"})
			if c.err == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, c.err)
		})
	}
}
