/*
 * What a 32-bit guest does: enable the hypercall page from protected mode, and call it with
 * EDX:EAX control, EBX:ECX input, EDI:ESI output. EDI points to struct call32 (hypercalls.c).
 */
	.section .text, "ax"
	.code32
	.globl	call32
call32:
	movl	%edi, %ebp
	movl	$0x40000001, %ecx
	movl	24(%ebp), %eax
	xorl	%edx, %edx
	wrmsr
	pushl	%ebp
	movl	0(%ebp), %eax
	movl	4(%ebp), %edx
	movl	8(%ebp), %ecx
	movl	12(%ebp), %ebx
	movl	24(%ebp), %ebp
	andl	$0xfffff000, %ebp
	xorl	%esi, %esi
	xorl	%edi, %edi
	call	*%ebp
	popl	%ebp
	movl	%eax, 16(%ebp)
	movl	%edx, 20(%ebp)
	ret

	.section .note.GNU-stack, "", @progbits
