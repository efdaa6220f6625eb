from imcswav.clustering.written import write_ours


def write(path, text):
    return write_ours(path, lambda temporary: temporary.write_text(text))


def test_what_we_wrote_is_replaced_and_what_somebody_changed_is_kept(tmp_path):
    path = tmp_path / "labels.csv"
    assert write(path, "one") is None
    assert write(path, "two") is None
    path.write_text("mine")
    assert write(path, "three") == tmp_path / "labels.yours-1.csv"
    path.write_text("mine again")
    assert write(path, "four") == tmp_path / "labels.yours-2.csv"
    assert path.read_text() == "four"
    assert (tmp_path / "labels.yours-1.csv").read_text() == "mine"
    assert (tmp_path / "labels.yours-2.csv").read_text() == "mine again"


def test_files_are_told_apart(tmp_path):
    write(tmp_path / "a.csv", "a")
    write(tmp_path / "b.csv", "b")
    assert write(tmp_path / "a.csv", "c") is None
    assert write(tmp_path / "b.csv", "d") is None


def test_a_file_of_unknown_origin_is_somebodys(tmp_path):
    path = tmp_path / "report.html"
    path.write_text("whose?")
    assert write(path, "ours") == tmp_path / "report.yours-1.html"


def test_a_broken_record_keeps_more_rather_than_less(tmp_path):
    path = tmp_path / "report.html"
    write(path, "one")
    (tmp_path / "clustering" / "written.json").write_text("{")
    assert write(path, "two") == tmp_path / "report.yours-1.html"
    assert write(path, "three") is None
