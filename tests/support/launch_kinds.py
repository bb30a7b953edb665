"""How each runtime's program launches: the kinds of programs/launch_*.h."""

CUDA_KINDS = (
    "kernel",
    "kernel_ptsz",
    "in_stream",
    "configured",
    "configured_ptsz",
    "cooperative",
    "cooperative_ptsz",
)
KINDS = {
    "cuda": CUDA_KINDS,
    "acl": ("kernel", "in_stream", "second", "configured", "with_host_arguments", "with_array"),
    "rt": (
        "kernel",
        "in_stream",
        "flagged",
        "flagged_2",
        "of_handle",
        "of_handle_2",
        "vector",
        "vector_of_handle",
        "by_handle",
        "by_handle_2",
        "by_handle_3",
        "with_array",
        "configured",
        "with_device_arguments",
        "with_host_arguments",
        "ffts",
        "ffts_flagged",
        "ffts_plus",
        "ffts_plus_flagged",
        "multiple",
        "multiple_flagged",
        "fused",
        "of_framework",
        "of_framework_named",
        "cpu",
        "cpu_flagged",
        "ai_cpu",
        "ai_cpu_flagged",
        "ai_cpu_typed",
        "ai_cpu_with_arguments",
        "cpu_by_handle",
    ),
    "hip": ("kernel", "in_stream", "of_module"),
    "cnrt": ("kernel", "in_stream"),
    "cndrv": ("kernel", "in_stream", "in_own", "in_legacy", "configured", "exported"),
    "musart": CUDA_KINDS,
    "musa": CUDA_KINDS,
}
"""Without graphs."""

GRAPHS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(KINDS, ("graph",)),
    "acl": ("graph", "graph_awaited"),
    "rt": ("graph", "graph_asynchronous", "graph_awaited", "graph_awaited_in_stream"),
}
"""What was captured before; several kernels at once."""
