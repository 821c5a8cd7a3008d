"""How RocksDB is set up: the memory that all stores of a process share, and the options of every table.

Without one shared budget memory grows with the number of stores: each table has memtables of its own and each
database a cache of its own.
"""

from __future__ import annotations

from rocksdict import (
    BlockBasedOptions,
    Cache,
    DBCompressionType,
    Options,
    WriteBufferManager,
)

MIB = 1 << 20


class RocksResources:
    """One block cache and one memtable budget for all stores of a process, in bytes.

    `cache_bytes` holds data, index and filter blocks, `write_buffer_bytes` the memtables of all tables.
    """

    def __init__(self, cache_bytes: int = 128 * MIB, write_buffer_bytes: int = 128 * MIB) -> None:
        # The memtables are charged to the cache, so that the sum of both is the bound for everything.
        self.cache = Cache(cache_bytes + write_buffer_bytes)
        self.write_buffers = WriteBufferManager.new_write_buffer_manager_with_cache(
            write_buffer_bytes, False, self.cache
        )
        self.options = self._options(write_buffer_bytes)

    def _options(self, write_buffer_bytes: int) -> Options:
        options = Options(raw_mode=True)
        options.create_if_missing(True)
        options.create_missing_column_families(True)
        options.set_block_based_table_factory(self._blocks())
        options.set_write_buffer_manager(self.write_buffers)
        # Small beside the budget: a store that has fallen silent keeps its last memtables.
        options.set_write_buffer_size(max(MIB, min(16 * MIB, write_buffer_bytes // 4)))
        options.set_compression_type(DBCompressionType.lz4())
        # A table that is rarely written would otherwise hold back the logs of all others.
        options.set_max_total_wal_size(max(4 * MIB, write_buffer_bytes))
        # A memtable takes whole blocks: with the default of 1 MB (and a bloom filter, made at once) some dozens of
        # nearly empty tables would fill the budget, and every write would flush a memtable of a few rows.
        options.set_arena_block_size(64 << 10)
        options.set_max_background_jobs(2)
        options.set_keep_log_file_num(2)
        options.set_max_log_file_size(MIB)
        options.set_stats_dump_period_sec(0)
        return options

    def _blocks(self) -> BlockBasedOptions:
        blocks = BlockBasedOptions()
        blocks.set_block_cache(self.cache)
        blocks.set_bloom_filter(10, False)
        blocks.set_format_version(5)
        blocks.set_cache_index_and_filter_blocks(True)
        blocks.set_pin_l0_filter_and_index_blocks_in_cache(True)
        return blocks
