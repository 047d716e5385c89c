/*
 * From whatever the boot protocol leaves us to payload_main() in long mode. Built once for each
 * protocol: BOOT_MULTIBOOT (addresses in its header), BOOT_MULTIBOOT_ELF (addresses in the ELF
 * headers), BOOT_PVH, BOOT_LINUX (ELF64, entered in long mode), BOOT_BZIMAGE.
 */

#define PROTO_MULTIBOOT	1
#define PROTO_PVH	2
#define PROTO_LINUX64	3

#define STACK_SIZE	8192
#define MAX_CPUS	64

#define MSR_EFER	0xc0000080

#ifdef BOOT_BZIMAGE
/* The header of Linux's boot protocol 2.12, by its documented offsets; 4 sectors. */
	.section .setup, "ax"
	.globl setup_start
setup_start:
	.org	0x1f1
	.byte	3			/* setup_sects */
	.word	0			/* root_flags */
	.long	setup_syssize
	.word	0, 0, 0			/* ram_size, vid_mode, root_dev */
	.word	0xaa55			/* boot_flag */
	.byte	0xeb, setup_header_end - setup_header
setup_header:
	.ascii	"HdrS"
	.word	0x020c			/* version */
	.long	0			/* realmode_swtch */
	.word	0			/* start_sys_seg */
	.word	setup_version - setup_start - 0x200
	.byte	0			/* type_of_loader */
	.byte	1			/* loadflags: LOADED_HIGH */
	.word	0			/* setup_move_size */
	.long	payload_start		/* code32_start */
	.long	0, 0			/* ramdisk_image, ramdisk_size */
	.long	0			/* bootsect_kludge */
	.word	0			/* heap_end_ptr */
	.byte	0, 0			/* ext_loader_ver, ext_loader_type */
	.long	0			/* cmd_line_ptr */
	.long	0x7fffffff		/* initrd_addr_max */
	.long	0x1000			/* kernel_alignment */
	.byte	0			/* relocatable_kernel */
	.byte	12			/* min_alignment */
	.word	1			/* xloadflags: 64-bit entry point at 0x200 */
	.long	2047			/* cmdline_size */
	.long	0			/* hardware_subarch */
	.quad	0			/* hardware_subarch_data */
	.long	0, 0			/* payload_offset, payload_length */
	.quad	0			/* setup_data */
	.quad	payload_start		/* pref_address */
	.long	setup_init_size
	.long	0			/* handover_offset */
setup_header_end:
	cli
1:	hlt
	jmp	1b
setup_version:
	.asciz	"bulkhead test payload"
	.org	0x800
#endif

	.section .head, "ax"
	.globl	payload_start
payload_start:

#if defined(BOOT_MULTIBOOT) || defined(BOOT_MULTIBOOT_ELF)
#define MB_MAGIC	0x1badb002
	.balign	4
mb_header:
	.long	MB_MAGIC
#ifdef BOOT_MULTIBOOT
#define MB_FLAGS	0x10003
	.long	MB_FLAGS
	.long	-(MB_MAGIC + MB_FLAGS)
	.long	mb_header
	.long	load_start
	.long	load_end
	.long	image_end
	.long	start
#else
#define MB_FLAGS	0x00003
	.long	MB_FLAGS
	.long	-(MB_MAGIC + MB_FLAGS)
#endif
#endif

#ifdef BOOT_PVH
	.pushsection .note.Xen, "a", @note
	.balign	4
	.long	4, 4, 18		/* XEN_ELFNOTE_PHYS32_ENTRY */
	.asciz	"Xen"
	.long	start
	.popsection
#endif

#if defined(BOOT_LINUX)
	.code64
	.globl	start
start:
	jmp	start64
#else
	.code32
	.globl	start
start:
	cli
	cld
#ifdef BOOT_BZIMAGE
	/* The 32-bit protocol: only a loader that does not know the 64-bit one comes here. */
	ud2
	.org	0x200
	.code64
	jmp	start64
	.code32
#endif
#ifdef PAYLOAD_IDLE_AT_ONCE
	/* Where many VMs are started and counted, none is to cost more than that. */
	movw	$0x3f8, %dx
	movb	$'.', %al
	outb	%al, %dx
1:	hlt
	jmp	1b
#endif
#ifdef PAYLOAD_EXIT_AT_ONCE
	/* The start-up benchmark's clock stops at the byte that the first instructions print. */
	movw	$0x3f8, %dx
	movb	$'.', %al
	outb	%al, %dx
	xorl	%eax, %eax
	outb	%al, $0xf4
#endif
	movl	%eax, boot_magic
	movl	%ebx, boot_arg
#ifdef BOOT_PVH
	movl	$PROTO_PVH, boot_proto
#else
	movl	$PROTO_MULTIBOOT, boot_proto
#endif
	movl	$(boot_stacks + STACK_SIZE), %esp
	call	enter_long
	/* enter_long returns to 32-bit code's next instruction in 64-bit mode. */
	.code64
	jmp	main64
#endif

	.code64
start64:
	cli
	cld
#ifdef BOOT_BZIMAGE
	/* A flat image has no BSS that a loader could clear. */
	leaq	bss_start(%rip), %rdi
	leaq	image_end(%rip), %rcx
	subq	%rdi, %rcx
	shrq	$3, %rcx
	xorl	%eax, %eax
	rep stosq
#endif
	movl	$PROTO_LINUX64, boot_proto(%rip)
	movl	%esi, boot_arg(%rip)
	leaq	boot_stacks + STACK_SIZE(%rip), %rsp
	lgdt	gdt_ptr(%rip)
	leaq	pml4(%rip), %rax
	movq	%rax, %cr3
	pushq	$0x08
	leaq	main64(%rip), %rax
	pushq	%rax
	lretq

main64:
	movl	$0x10, %eax
	movl	%eax, %ds
	movl	%eax, %es
	movl	%eax, %ss
	xorl	%eax, %eax
	movl	%eax, %fs
	movl	%eax, %gs
	xorl	%ebp, %ebp
	call	payload_entry
1:	hlt
	jmp	1b

/*
 * From 32-bit protected mode without paging to long mode; the caller's return address is taken
 * from its 32-bit stack. Clobbers EAX, ECX, EDX.
 */
	.section .text, "ax"
	.code32
enter_long:
	lgdt	gdt_ptr
	movl	%cr4, %eax
	orl	$0x20, %eax		/* PAE */
	movl	%eax, %cr4
	movl	$pml4, %eax
	movl	%eax, %cr3
	movl	$MSR_EFER, %ecx
	rdmsr
	orl	$0x100, %eax		/* LME */
	wrmsr
	movl	%cr0, %eax
	orl	$0x80000001, %eax	/* PG, PE */
	andl	$0x9fffffff, %eax	/* caches on */
	movl	%eax, %cr0
	popl	%eax
	ljmp	$0x08, $1f
	.code64
1:	movl	%eax, %eax
	movl	$0x10, %ecx
	movl	%ecx, %ss
	movl	%ecx, %ds
	movl	%ecx, %es
	jmp	*%rax

/*
 * An application processor's first code: copied to a page below 1 MiB, entered in real mode
 * with CS = the page. Position independent but for the jump into the image.
 */
	.section .rodata, "a"
	.code16
	.globl	ap_trampoline, ap_trampoline_end
ap_trampoline:
	cli
	movw	%cs, %ax
	movw	%ax, %ds
	lgdtl	ap_gdt_ptr - ap_trampoline
	movl	%cr0, %eax
	orl	$1, %eax
	movl	%eax, %cr0
	ljmpl	$0x18, $ap_start32
	.balign	4
ap_gdt_ptr:
	.word	gdt_end - gdt - 1
	.long	gdt
ap_trampoline_end:

	.section .text, "ax"
	.code32
ap_start32:
	movw	$0x10, %ax
	movw	%ax, %ds
	movw	%ax, %es
	movw	%ax, %ss
	movl	$1, %ebx
	lock xaddl %ebx, ap_next
	incl	%ebx			/* CPU number: 1 for the first to come */
	movl	%ebx, %eax
	shll	$13, %eax
	leal	boot_stacks + STACK_SIZE(%eax), %esp
	call	enter_long
	.code64
	movl	%ebx, %edi
	xorl	%ebp, %ebp
	call	ap_entry
1:	cli
	hlt
	jmp	1b

/*
 * void call_in_32bit(void (*code32)(void), void *arg): leave long mode altogether (EFER.LMA
 * clear), call code32 with arg in EDI, and come back. Interrupts must be off.
 */
	.globl	call_in_32bit
call_in_32bit:
	pushq	%rbx
	pushq	%rbp
	pushq	%r12
	pushq	%r13
	pushq	%r14
	pushq	%r15
	movl	%edi, %ebx
	movl	%esi, %edi
	movq	%rsp, %rbp
	pushq	$0x18
	leaq	1f(%rip), %rax
	pushq	%rax
	lretq
	.code32
1:	movl	$0x10, %eax
	movl	%eax, %ss
	movl	%eax, %ds
	movl	%eax, %es
	movl	%cr0, %eax
	andl	$0x7fffffff, %eax
	movl	%eax, %cr0
	movl	$MSR_EFER, %ecx
	rdmsr
	andl	$~0x100, %eax
	wrmsr
	pushl	%ebp
	call	*%ebx
	popl	%ebp
	call	enter_long
	.code64
	movq	%rbp, %rsp
	popq	%r15
	popq	%r14
	popq	%r13
	popq	%r12
	popq	%rbp
	popq	%rbx
	ret

/* Interrupt entry: 256 stubs of 16 bytes each, then a common part. */
	.globl	trap_stubs
	.balign	16
trap_stubs:
	vector = 0
	.rept	256
	.balign	16
	.if	vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21
	nop
	nop
	.else
	pushq	$0
	.endif
	pushq	$vector
	jmp	trap_common
	vector = vector + 1
	.endr

trap_common:
	pushq	%rax
	pushq	%rcx
	pushq	%rdx
	pushq	%rbx
	pushq	%rbp
	pushq	%rsi
	pushq	%rdi
	pushq	%r8
	pushq	%r9
	pushq	%r10
	pushq	%r11
	pushq	%r12
	pushq	%r13
	pushq	%r14
	pushq	%r15
	movq	%rsp, %rdi
	cld
	call	trap_handle
	popq	%r15
	popq	%r14
	popq	%r13
	popq	%r12
	popq	%r11
	popq	%r10
	popq	%r9
	popq	%r8
	popq	%rdi
	popq	%rsi
	popq	%rbp
	popq	%rbx
	popq	%rdx
	popq	%rcx
	popq	%rax
	addq	$16, %rsp
	iretq

	.section .data, "aw"
	.balign	8
	.globl	boot_magic, boot_arg, boot_proto, ap_next
boot_magic:
	.long	0
boot_arg:
	.long	0
boot_proto:
	.long	0
ap_next:
	.long	0

	.balign	8
gdt:	.quad	0
	.quad	0x00af9b000000ffff	/* 0x08: 64-bit code */
	.quad	0x00cf93000000ffff	/* 0x10: data */
	.quad	0x00cf9b000000ffff	/* 0x18: 32-bit code */
gdt_end:
gdt_ptr:
	.word	gdt_end - gdt - 1
	.quad	gdt

/* The first 4 GiB, one to one, in 2 MiB pages; paging.c adds what lies above. */
	.globl	pml4, pdpt
	.balign	4096
pml4:	.quad	pdpt + 3
	.fill	511, 8, 0
pdpt:	.quad	pd + 0x0003
	.quad	pd + 0x1003
	.quad	pd + 0x2003
	.quad	pd + 0x3003
	.fill	508, 8, 0
pd:
	address = 0
	.rept	2048
	.quad	address + 0x83
	address = address + 0x200000
	.endr

	.section .bss, "aw", @nobits
	.balign	4096
	.globl	boot_stacks
boot_stacks:
	.fill	MAX_CPUS * STACK_SIZE, 1, 0

	.section .note.GNU-stack, "", @progbits
