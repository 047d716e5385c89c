/*
 * What the probe has a guest do (worker/probe_kvm.c): a few instructions each, in 64-bit mode with
 * identity-mapped memory.  A byte written to port 0x10 is a result, to 0x11 the vector of an
 * exception or interrupt, to 0x12 the word that the guest is ready.
 */

#define PORT_RESULT 0x10
#define PORT_VECTOR 0x11
#define PORT_READY  0x12

#define SELECTOR_USER_DATA (0x20 | 3)
#define SELECTOR_USER_CODE (0x28 | 3)
#define USER_STACK	   0xa000
#define SCRATCH		   0xb000 /* a few zeroed pages */

	.section .rodata
	.balign 16
	.globl probe_guest_start
probe_guest_start:

	.globl probe_guest_plain
probe_guest_plain:
	xor %eax, %eax
result:
	out %al, $PORT_RESULT
	hlt

	.globl probe_guest_int3
probe_guest_int3:
	int3
	jmp bad

	.globl probe_guest_fwait
probe_guest_fwait:
	fwait
	jmp probe_guest_plain

	.globl probe_guest_popcnt
probe_guest_popcnt:
	mov $0xff, %ecx
	popcnt %ecx, %eax
	sub $8, %eax
	jmp result

	.globl probe_guest_cmpxchg16b
probe_guest_cmpxchg16b:
	mov $SCRATCH, %edi
	xor %eax, %eax
	xor %edx, %edx
	mov $1, %ebx
	mov $2, %ecx
	lock cmpxchg16b (%rdi)
	mov (%rdi), %al
	dec %al
	jmp result

	.globl probe_guest_sse
probe_guest_sse:
	mov $SCRATCH, %edi
	movups (%rdi), %xmm0
	pxor %xmm1, %xmm1
	movups %xmm1, (%rdi)
	jmp probe_guest_plain

	/* CR4.OSXSAVE is set. */
	.globl probe_guest_xsave
probe_guest_xsave:
	mov $SCRATCH, %edi
	xor %ecx, %ecx
	xor %edx, %edx
	mov $3, %eax
	xsetbv
	xsave (%rdi)
	xrstor (%rdi)
	jmp probe_guest_plain

	/* CR4.SMAP is set. */
	.globl probe_guest_smap
probe_guest_smap:
	stac
	clac
	jmp probe_guest_plain

	/* A byte of the monitor's choosing comes back from an MSR that it filters. */
	.globl probe_guest_msr
probe_guest_msr:
	mov $0x40000000, %ecx
	rdmsr
	jmp result

	/* Caught by an ioeventfd: no exit but the result's. */
	.globl probe_guest_doorbell
probe_guest_doorbell:
	mov $0x1234, %eax
	out %eax, $0xe0
	jmp probe_guest_plain

	/* Switches the local APIC on and waits for an interrupt. */
	.globl probe_guest_interrupt
probe_guest_interrupt:
	mov $0xfee000f0, %edi
	movl $0x1ff, (%rdi)
	out %al, $PORT_READY
	sti
	hlt
	jmp bad

	/* Down to ring 3, and back by a software interrupt. */
	.globl probe_guest_ring3
probe_guest_ring3:
	lea user_interrupt(%rip), %rax
	jmp to_user
user_interrupt:
	int $0x80
	jmp bad

	/* Down to ring 3, and back by SYSCALL: the result is the ring that it arrives in. */
	.globl probe_guest_syscall
probe_guest_syscall:
	mov $0xc0000081, %ecx /* STAR */
	xor %eax, %eax
	mov $0x001b0008, %edx
	wrmsr
	mov $0xc0000082, %ecx /* LSTAR */
	lea system_call(%rip), %rax
	xor %edx, %edx
	wrmsr
	mov $0xc0000084, %ecx /* FMASK */
	xor %eax, %eax
	wrmsr
	lea user_syscall(%rip), %rax
to_user:
	pushq $SELECTOR_USER_DATA
	pushq $USER_STACK
	pushq $2
	pushq $SELECTOR_USER_CODE
	push %rax
	iretq
user_syscall:
	syscall
	jmp bad
system_call:
	mov %cs, %eax
	and $3, %eax
	jmp result

bad:
	mov $0xff, %al
	jmp result

	/* One entry a vector, 16 bytes apart. */
	.balign 16
	.globl probe_guest_vectors
probe_guest_vectors:
	.set vector, 0
	.rept 256
	.balign 16
	mov $vector, %al
	jmp exception
	.set vector, vector + 1
	.endr

exception:
	out %al, $PORT_VECTOR
	hlt

	.globl probe_guest_end
probe_guest_end:

	.section .note.GNU-stack, "", @progbits
